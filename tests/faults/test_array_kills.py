"""Tasks of an array are killed and drained while other tasks generate the same dataset."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

import psutil

from rayspin import job
from rayspin.rundir import RunDir
from tests.support import datasets
from tests.support.runs import Run, alive, started, wait_until


def test_overlapping_and_killed_tasks_give_the_same_shards(tmp_path: Path) -> None:
    """Of three overlapping tasks one loses a worker, one is killed and one drained; two more complete the dataset."""
    stage = datasets.labyrinths(
        24, 64, seed=5, shard_samples=1, schedule={"sweeps": 10000, "quench_sweeps": 20}, splits={"test": 2}
    )
    datasets.make(stage, tmp_path / "alone")
    job_file, folder = tmp_path / "slow.toml", tmp_path / "data"
    job_file.write_text(job.to_toml(stage))
    with ExitStack() as stack:

        def start(part: str) -> Run:
            return stack.enter_context(started(job_file, folder, "--shards", part))

        first, second, third = (start(part) for part in ("0:12", "6:18", "15:24"))
        wait_until(lambda: first.samples() >= 3)
        workers_of(first)[0].kill()
        workers = psutil.Process(second.driver.pid).children(recursive=True)
        second.driver.kill()
        third.driver.send_signal(signal.SIGUSR2)
        assert third.wait()[0] == 75
        wait_until(lambda: not any(alive(worker) for worker in workers))
        assert first.wait() == (0, "")
        again = [start("6:24"), start("15:20")]
        assert [task.wait() for task in again] == [(0, "")] * 2
    assert datasets.shards(folder) == datasets.shards(tmp_path / "alone")
    assert RunDir.at(folder).finished(stage.identity()) is not None
    assert not list(folder.glob(".tmp-*"))
    assert not list(folder.glob("failed-*"))


def workers_of(task: Run) -> list[psutil.Process]:
    """The annealing processes of a task, which are children of its fork server."""
    grandchildren = [
        grandchild for child in psutil.Process(task.driver.pid).children() for grandchild in child.children()
    ]
    return [process for process in grandchildren if process.cpu_times().user > 0]
