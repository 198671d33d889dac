"""Reconstructions with Ray: fields do not depend on workers, and a killed run resumes to the same bytes."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from rayspin import job
from rayspin.config import build
from rayspin.errors import RunError
from rayspin.job import Context
from rayspin.jobs.reconstruct.job import Reconstruct
from rayspin.jobs.reconstruct.ledger import NAME
from rayspin.rundir import read_lines
from tests.support import datasets
from tests.support.runs import started

FIELDS = 24


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stage = datasets.labyrinths(FIELDS, 64, splits={"test": FIELDS})
    return datasets.make(stage, tmp_path_factory.mktemp("dataset") / "data")


def stage(dataset: Path) -> Reconstruct:
    """A job of which a shard takes half a second, and whose method learns from all fields."""
    method = {"method": "projections", "options": {"start": "wiener-em", "iterations": 8000}}
    return build(Reconstruct, {"dataset": str(dataset), "scale": 4, "method": method, "shard_samples": 2}, "")


def results(folder: Path) -> dict[str, bytes]:
    """The bytes of the results. The ledger has times, and the summary names the folder."""
    names = {path.name for path in folder.iterdir()} - {NAME, ".lock", "summary.json"}
    return {name: (folder / name).read_bytes() for name in names}


def shards(folder: Path) -> int:
    return len({entry["first"] for entry in read_lines(folder / NAME)})


@pytest.mark.timeout(900)
def test_killed_reconstruction_gives_the_same_files(dataset: Path, context: Context, tmp_path: Path) -> None:
    made = stage(dataset)
    job.run(made, tmp_path / "undisturbed", context)
    expected = results(tmp_path / "undisturbed")
    job_file, folder = tmp_path / "job.toml", tmp_path / "killed"
    job_file.write_text(job.to_toml(made))
    with started(job_file, folder) as run:
        run.wait_for(lambda: shards(folder) >= 1)
        run.kill("ray::FieldMaker", random.Random(0))
        run.wait_for(lambda: shards(folder) >= 3)
        run.driver.send_signal(signal.SIGKILL)
        run.driver.wait()
        run.check_processes_ended()
    before = {path: path.stat().st_ino for path in folder.glob("shard-*.nc")}
    recorded = shards(folder)
    assert recorded < FIELDS // 2, "the job was too short to be killed"
    with started(job_file, folder) as run:
        assert run.wait() == (0, "")
    assert results(folder) == expected
    assert shards(folder) == FIELDS // 2
    kept = [path for path, inode in before.items() if path.stat().st_ino == inode]
    assert len(kept) >= recorded, "a finished shard was written again"


def test_fields_that_fail_end_the_run_with_one_line(dataset: Path, context: Context, tmp_path: Path) -> None:
    table = {"dataset": str(dataset), "scale": 4, "method": "fourier", "microscope": {"gain": [2.0, 2.0, 2.0]}}
    with pytest.raises(RunError, match=r"fields cannot be reconstructed \(InputError: coarse spins: have lengths"):
        job.run(build(Reconstruct, table, ""), tmp_path / "run", context)
    assert "FieldMaker" in (tmp_path / "run" / "error.txt").read_text()
