"""Status comes from files alone: of finished, half-done and killed runs, and of their stages."""

from __future__ import annotations

import os
import socket
from datetime import datetime
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner

from rayspin import job
from rayspin.cli import main
from rayspin.errors import InputError
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import ShardMaker, in_the_making
from rayspin.rundir import RunDir
from rayspin.status import describe
from rayspin.storage import Catalog, LedgerWriter

SMALL = Generate.model_validate(
    {
        "samples": 12,
        "size": 16,
        "shard_samples": 4,
        "hamiltonian": "labyrinth",
        "schedule": {"sweeps": 20, "quench_sweeps": 20},
    }
)


@pytest.fixture
def half_done(tmp_path: Path) -> Path:
    """Two of three shards, made by two hosts, and a third that failed."""
    folder = tmp_path / "data"
    with RunDir.at(folder).claimed(SMALL.identity()):
        for first, host in [(0, "n1"), (4, "n2")]:
            made = ShardMaker(SMALL, folder).work((first, 4))
            LedgerWriter(folder).record(made.record, host=host, seconds=2.0, entered=f"2026-01-01T00:00:0{first}")
        (folder / "failed-00000008.txt").write_text("Traceback")
    return folder


def test_a_dataset_under_way_tells_how_far_it_is_and_who_did_what(half_done: Path) -> None:
    _, rows = describe(half_done)
    assert rows["samples"] == "8 of 12 (67 %)"
    assert rows["state"] == "not running; run the same command again to resume"
    # 4 samples in the 4 s between the two shards.
    assert rows["rate"] == "1 samples/s over the last 2 shards"
    assert rows["time left"] == "4 s at this rate, once resumed"
    assert rows["made by n1"].startswith("1 shards, the last ")
    assert rows["made by n2"].endswith(" h ago")
    assert rows["core-seconds per sample"] == "0.5"
    assert datetime.fromisoformat(rows["last activity"].split(",")[0]) == datetime(2026, 1, 1, 0, 0, 4).astimezone()
    assert rows["failed: failed-00000008.txt"].startswith("Traceback\nrayspin explain ")


def test_a_pause_between_two_runs_does_not_count(half_done: Path) -> None:
    made = ShardMaker(SMALL, half_done).work((8, 4))
    catalog, writer = Catalog.read(half_done), LedgerWriter(half_done)
    writer.record(made.record, host="n1", seconds=2.0, entered="2026-01-02T00:00:00")
    assert "rate" not in describe(half_done)[1]
    (half_done / "shard-00000000.nc").unlink()
    writer.record(catalog.records[0], host="n1", seconds=2.0, entered="2026-01-02T00:00:08")
    assert describe(half_done)[1]["rate"] == "0.5 samples/s over the last 2 shards"


def test_what_is_in_the_making_is_told_host_by_host(half_done: Path) -> None:
    run = RunDir.at(half_done)
    with run.claimed(SMALL.identity()), in_the_making(half_done, 8):
        _, rows = describe(half_done)
        assert rows[f"in progress on {socket.gethostname()}"].startswith(
            "1 shards, the first from sample 8, the oldest started "
        )
    assert not list(half_done.glob(".tmp-*"))
    assert not [row for row in describe(half_done)[1] if row.startswith("in progress")]


def test_a_job_file_that_has_changed_is_one_line(half_done: Path) -> None:
    job_file = half_done / "job.toml"
    job_file.write_text(job_file.read_text().replace("samples =", "sampler =", 1))
    with pytest.raises(InputError, match=r"job.toml: not as rayspin wrote it \(KeyError\(.samples.\)\)"):
        describe(half_done)


def test_a_torn_summary_is_none(half_done: Path) -> None:
    for text in ("", "{", '{"title": "dataset"}', "[1]"):
        (half_done / "summary.json").write_text(text)
        assert describe(half_done)[1]["state"] == "not running; run the same command again to resume"


def test_who_works_on_a_run_is_told_unless_he_is_dead(half_done: Path) -> None:
    run = RunDir.at(half_done)
    with run.claimed(SMALL.identity()):
        rows = describe(half_done)[1]
        assert f"process {os.getpid()} on {socket.gethostname()}" in rows["state"]
        assert rows["time left"] == "4 s"
        assert rows[f"process {os.getpid()} on {socket.gethostname()}"] == "all shards, active 0 s ago"
        assert rows["last activity"].endswith(", 0 s ago")
    # A task of an array on another node tells what it does.
    with run.shared(SMALL.identity(), SMALL.may_change, "shards 2:3"):
        (note,) = half_done.glob(".holder-*")
        note.write_text(note.read_text().replace(socket.gethostname(), "elsewhere"))
        rows = describe(half_done)[1]
        assert rows[f"process {os.getpid()} on elsewhere"].startswith("shards 2:3, active ")
    assert "not running" in describe(half_done)[1]["state"]


def test_a_pipeline_tells_of_its_stages(half_done: Path, tmp_path: Path) -> None:
    stages = {"data": SMALL.to_table(), "train": {"kind": "train-fcn", "dataset": "@data"}}
    pipeline = tmp_path / "job.toml"
    pipeline.write_text(tomli_w.dumps({"kind": "pipeline", "stages": stages}))
    stage = job.load(pipeline)
    with RunDir.at(tmp_path / "pipe").claimed(stage.identity()):
        half_done.rename(tmp_path / "pipe" / "data")
    _, rows = describe(tmp_path / "pipe")
    assert rows["data: samples"] == "8 of 12 (67 %)"
    assert rows["train: state"] == "not started"


def test_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run in this folder"):
        describe(tmp_path)
    result = CliRunner().invoke(main, ["status", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
