"""Array mode: parts of a dataset, generated without Ray in any order, have the bytes of a single run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from rayspin import job
from rayspin.claims import HeldError
from rayspin.cli import main
from rayspin.errors import Incomplete, InputError, MachineError, RunError
from rayspin.job import Context
from rayspin.jobs.generate.array import ShardRange
from rayspin.jobs.generate.explain import explain, repeat
from rayspin.jobs.generate.making import ShardMaker
from rayspin.jobs.generate.recorder import Recorder
from rayspin.rundir import RunDir
from rayspin.storage import Catalog, shard_name, verify
from tests.support import datasets

SMALL = datasets.labyrinths(22, 16, seed=5, shard_samples=4, splits={"test": 2, "validation": 3})


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The shards as one process generates them in order."""
    folder = tmp_path_factory.mktemp("reference")
    maker = ShardMaker(SMALL, folder)
    for shard in SMALL.shards():
        maker.work(shard)
    return datasets.shards(folder)


@pytest.mark.parametrize(
    ("text", "part"),
    [("0:2", (0, 2)), ("4:9", (4, 6)), ("1/1", (0, 6)), ("1/4", (0, 1)), ("4/4", (4, 6)), ("2/12", (0, 1))],
)
def test_parts(text: str, part: tuple[int, int]) -> None:
    assert ShardRange.parse(text, 6) == ShardRange(*part)


def test_a_full_disk_at_the_ledger_lets_the_shards_in_flight_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last shard has one sample and finishes first; shards missing from the ledger are adopted by the next run."""
    stage = SMALL.with_updates(samples=5, schedule={"sweeps": 400_000, "quench_sweeps": 20})

    def full(*_: object, **__: object) -> None:
        raise MachineError("here", "No space left on device", "make room")

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "record", full)
        with pytest.raises(MachineError, match="here: No space left"):
            job.run(stage, tmp_path / "data", Context(), shards="1/1")
    assert set(datasets.shards(tmp_path / "data")) == {shard_name(0), shard_name(4)}
    assert not list((tmp_path / "data").glob(".tmp-*.nc"))
    job.run(stage, tmp_path / "data", Context(), shards="1/1")
    assert Catalog.read(tmp_path / "data").samples_done == 5


def test_shards_that_a_killed_run_left_out_of_the_ledger_count_as_done(tmp_path: Path) -> None:
    datasets.make(SMALL, tmp_path)
    (tmp_path / "ledger.jsonl").unlink()
    (tmp_path / shard_name(0)).unlink()
    recorder = Recorder.resume(tmp_path, SMALL)
    assert recorder.missing == [(0, SMALL.shard_samples)]
    assert recorder.samples_done == SMALL.samples - SMALL.shard_samples


def test_equal_parts_hold_every_shard_once() -> None:
    for shards in (1, 6, 17):
        for parts in (1, 2, 5, 20):
            cut = [ShardRange.parse(f"{k}/{parts}", shards) for k in range(1, parts + 1)]
            assert [shard for part in cut for shard in range(part.start, part.stop)] == list(range(shards))


@pytest.mark.parametrize("text", ["2:2", "6:8", "0/3", "4/3", "1-3", "a:b", ""])
def test_what_is_no_part_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match=f"--shards {text}"):
        ShardRange.parse(text, 6)


def test_parts_in_any_order_give_the_bytes_of_a_whole_run_and_the_last_marks_it(
    reference: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    run = RunDir.at(folder)
    for part in ("4:6", "0:3", "1:4"):
        assert run.finished(SMALL.identity()) is None
        summary = job.run(SMALL, folder, Context(), shards=part)
    assert summary.title == "dataset"
    assert run.finished(SMALL.identity()) == summary
    assert datasets.shards(folder) == reference
    assert verify(Catalog.entered(folder)).faults == []
    # The ledgers of the tasks have been merged.
    assert [path.name for path in folder.glob("*.jsonl")] == ["ledger.jsonl"]
    assert job.run(SMALL, folder, Context(), shards="0:1") == summary
    assert job.run(SMALL, folder, Context()) == summary


def test_a_part_extends_a_finished_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    job.run(SMALL, folder, Context(), shards="1/1")
    before = datasets.shards(folder)
    grown = SMALL.with_updates(samples=30)
    job.run(grown, folder, Context(), shards="1/2")
    assert RunDir.at(folder).finished(grown.identity()) is None
    job.run(grown, folder, Context(), shards="2/2")
    assert RunDir.at(folder).finished(grown.identity()) is not None
    assert before.items() < datasets.shards(folder).items()
    assert Catalog.read(folder).samples_done == 30


def test_tasks_refuse_another_job_and_a_run_that_works_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    run = RunDir.at(folder)
    with run.shared(SMALL.identity(), SMALL.may_change, "shards 0:1"):
        with pytest.raises(RunError, match=r"in use by process \d+ on .* \(shards 0:1, "):
            job.run(SMALL, folder, Context())
        with pytest.raises(InputError, match="seed is 5 there and 6 in the job"):
            job.run(SMALL.with_updates(seed=6), folder, Context(), shards="0:1")
    with pytest.raises(InputError, match="has no shards"):
        job.run(job.load(Path("jobs/smoke/pipeline.toml")), tmp_path / "other", Context(), shards="0:1")


def test_a_job_of_another_count_waits_for_the_tasks_that_are_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rayspin.rundir._MARK_S", 0.2)
    folder = tmp_path / "data"
    with RunDir.at(folder).shared(SMALL.identity(), SMALL.may_change, "shards 0:1"), pytest.raises(HeldError):
        job.run(SMALL.with_updates(samples=30), folder, Context(), shards="0:1")
    assert RunDir.at(folder).asked() == SMALL.identity()


def test_a_stop_ends_a_part_as_it_ends_a_run(reference: dict[str, bytes], tmp_path: Path) -> None:
    folder, context = tmp_path / "data", Context()
    with context.stop.draining():
        context.stop._handle_signal(signal.SIGUSR2, None)
    with pytest.raises(Incomplete, match="stopped by SIGUSR2 with 0 of 8 samples of shards 0:2 done"):
        job.run(SMALL, folder, context, shards="0:2")
    job.run(SMALL, folder, Context(), shards="0:2")
    assert datasets.shards(folder) == {name: reference[name] for name in (shard_name(0), shard_name(4))}


def test_a_poison_sample_leaves_the_rest_of_the_part(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(RunError, match=r"1 shard failed, the first \(samples 4 to 7\) with FloatingPointError: spin 6"):
        job.run(datasets.Poisoned(**dict(SMALL)), folder, Context(), shards="0:3")
    assert Catalog.read(folder).samples_done == 8
    assert "anneal_sample" in (folder / "failed-00000004.txt").read_text()

    status = CliRunner().invoke(main, ["status", str(folder)]).stdout
    assert "FloatingPointError: spin 6 diverged in sample 6" in status
    assert "rayspin explain" in status

    told = CliRunner().invoke(main, ["explain", str(folder), "1"])
    assert told.exit_code == 0
    assert "failed; not generated yet" in told.stdout
    assert "sample 6, seed (5, 6)" in told.stdout
    assert "in anneal_sample" in told.stdout
    for shard in ("shard-00000004.nc", str(folder / "failed-00000004.txt")):
        assert explain(folder, shard).shard == (4, 4)
    # The failure is reproduced in this process.
    found = replace(explain(folder, "1"), job=datasets.Poisoned(**dict(SMALL)))
    said: list[str] = []
    with pytest.raises(FloatingPointError, match="spin 6 diverged"):
        repeat(found, folder, said.append)
    assert [line.split(":")[0] for line in said] == ["sample 4", "sample 5"]
    # The failure file is removed once the shard is generated.
    job.run(SMALL, folder, Context(), shards="1/1")
    assert not list(folder.glob("failed-*"))


def test_explain_repeats_a_shard_that_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    job.run(SMALL, folder, Context(), shards="0:2")
    told = CliRunner().invoke(main, ["explain", str(folder), "1", "--run"])
    assert told.exit_code == 0, told.output
    assert told.stdout.count(", equal to the stored sample") == 4
    assert "not generated yet" in CliRunner().invoke(main, ["explain", str(folder), "3"]).stdout
    line = explain(folder, "0").commands[1]
    printed = subprocess.run(
        line.replace("python", sys.executable, 1), shell=True, check=True, capture_output=True, text=True
    ).stdout
    assert f"{Catalog.read(folder).column('energy')[0]:.10f}"[:12] in printed
    with pytest.raises(InputError, match="the job has 6 shards and none is '6'; give 0 to 5"):
        explain(folder, "6")
    with pytest.raises(InputError, match="no dataset"):
        explain(tmp_path, "0")


def test_no_ray_in_sight_nor_what_else_takes_a_second_to_import(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(job.to_toml(SMALL))
    code = (
        "import sys; from rayspin.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "import json; print(json.dumps(sorted({'ray', 'torch', 'matplotlib', 'xarray'} & sys.modules.keys())))"
    )
    command = ["run", str(tmp_path / "job.toml"), "--out", str(tmp_path / "data"), "--shards", "0:2"]
    ended = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    assert json.loads(ended.stdout.splitlines()[-1]) == []
    assert Catalog.read(tmp_path / "data").samples_done == 8
