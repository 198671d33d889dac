"""Overhead of Ray and of the ledger in a generation, relative to the kernel; `make bench` gives figures."""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin import job
from rayspin.execution.dispatcher import dispatch
from rayspin.execution.local_processes import dispatch_to_processes
from rayspin.execution.session import Session
from rayspin.execution.stopping import StopRequest
from rayspin.execution.work_queue import Worker
from rayspin.job import Context
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import MadeShard, warm_up
from rayspin.jobs.generate.recorder import Recorder
from rayspin.storage import Catalog, ShardRecord, shard_name
from tests.support.random_spins import RandomSpins, table
from tests.support.turns import ProcessTree

CORES = 2
TURN_S = 2.0
POLL_S = 0.02


class Clock:
    """A progress display that records the time of each update, and so of each shard."""

    def __init__(self) -> None:
        self.times: list[float] = []

    @contextmanager
    def track(self, *_args: Any) -> Iterator[Clock]:
        yield self

    def update(self, *_args: Any, **_figures: Any) -> None:
        self.times.append(time.perf_counter())

    def say(self, text: str) -> None:
        pass

    def seconds_per_shard(self) -> float:
        """Mean time per shard after each worker has returned its first result, which excludes the start-up."""
        return (self.times[-1] - self.times[CORES - 1]) / (len(self.times) - CORES)


class KernelOnly(Worker):
    """A worker that runs the kernel only."""

    def __init__(self, stage: Generate) -> None:
        self._stage = stage
        warm_up(stage)

    def work(self, item: tuple[int, int]) -> None:
        for sample in range(item[0], sum(item)):
            self._stage.anneal_sample(sample)


def run_bare(stage: Generate, folder: Path) -> None:
    """Anneal all samples on all cores without storage; write an empty file instead of each shard."""
    folder.mkdir()
    touch_shard = lambda shard, _: (folder / shard_name(shard[0])).touch()  # noqa: E731
    dispatch_to_processes(
        CORES, StopRequest(), KernelOnly, (stage,), stage.shards(), touch_shard, partial(warm_up, stage)
    )


def run_complete(stage: Generate, folder: Path) -> None:
    """Run the job like `rayspin run`."""
    session = Session(cpus=CORES)
    try:
        job.run(stage, folder, Context(session))
    finally:
        session.close()


class PausedRun:
    """A process tree that generates the shards of a job and is paused except in its turns.

    Args:
        target: the function of the process, `run_bare` or `run_whole`.
        stage: the job.
        folder: folder for the shards.
    """

    def __init__(self, target: Callable[[Generate, Path], None], stage: Generate, folder: Path) -> None:
        self._folder, self._order = folder, [shard_name(first) for first, _ in stage.shards()]
        self._end_times: dict[str, float] = {}
        """Time of all turns until each shard was finished, in seconds; 0 if it was finished before the first turn."""
        self._seconds = 0.0
        self._tree = ProcessTree(target, stage, folder)
        while len(self._end_times) < CORES and self._tree.alive:
            time.sleep(POLL_S)
            self._record_finished_shards(0.0)
        self._tree.pause()
        self._record_finished_shards(0.0)

    @property
    def nearly_done(self) -> bool:
        """Whether a core may be idle because no shards are left."""
        return len(self._end_times) > len(self._order) - CORES

    def turn(self) -> None:
        start = time.perf_counter()
        self._tree.resume()
        while (seconds := time.perf_counter() - start) < TURN_S:
            time.sleep(POLL_S)
            self._record_finished_shards(self._seconds + time.perf_counter() - start)
        self._tree.pause()
        self._seconds += seconds

    def seconds_per_shard(self) -> float:
        """Mean time per shard of all cores together, without shards that began before the first turn.

        Shards are assigned in order, so that a shard begins when an earlier one ends.
        """
        ends = sorted(self._end_times.values())
        durations = [
            self._end_times[shard] - begin
            for shard, begin in zip(self._order[CORES:], ends)
            if shard in self._end_times and begin > 0
        ]
        return float(np.mean(durations)) / CORES

    def end(self) -> None:
        """Wait until the process ends."""
        self._tree.end()

    def _record_finished_shards(self, seconds: float) -> None:
        for path in self._folder.glob("shard-*.nc"):
            self._end_times.setdefault(path.name, seconds)


@pytest.mark.timeout(1800)
def test_run_relative_to_the_bare_kernel(benchmark, tmp_path: Path) -> None:
    """Time per shard of a complete run with Ray, relative to the kernel, for samples of 128 x 128 on two cores.

    The two alternate in turns of seconds. Other load on the machine lasts longer than a turn, and the work of Ray after
    a pause takes much less time than a turn.
    """
    rounds, shards, per_shard, size, sweeps = (3, 16, 100, 128, 1000) if benchmark.enabled else (1, 4, 2, 16, 10)
    stage = Generate.model_validate(table(shards * per_shard, per_shard, size, sweeps))
    seconds: list[tuple[float, float]] = []

    def alternate() -> None:
        folder = tmp_path / str(len(seconds))
        folder.mkdir()
        complete, bare = PausedRun(run_complete, stage, folder / "data"), PausedRun(run_bare, stage, folder / "bare")
        while not (bare.nearly_done or complete.nearly_done):
            for run in (bare, complete, complete, bare):
                run.turn()
        for run in (bare, complete):
            run.end()
        assert Catalog.read(folder / "data").samples_done == stage.samples
        seconds.append((bare.seconds_per_shard(), complete.seconds_per_shard()) if benchmark.enabled else (1.0, 1.0))

    benchmark.pedantic(alternate, rounds=rounds, iterations=1)
    benchmark.extra_info["cost over the bare kernel, %"] = [round(100 * (a / b - 1), 1) for b, a in seconds]
    benchmark.extra_info["seconds per shard, bare"] = [round(bare, 2) for bare, _ in seconds]


def test_shards_per_second_without_annealing(benchmark, ray_session: Session, tmp_path: Path) -> None:
    """A complete run with Ray whose shards have one sample of 128 x 128 that takes no time to anneal."""
    shards, size = (2000, 128) if benchmark.enabled else (20, 8)
    stage = RandomSpins.model_validate(table(shards, 1, size))
    clock = Clock()
    benchmark.pedantic(job.run, (stage, tmp_path / "data", Context(ray_session, clock)), rounds=1, iterations=1)
    assert Catalog.read(tmp_path / "data").samples_done == shards
    benchmark.extra_info["shards per second"] = round(1 / clock.seconds_per_shard())


def record_and_time(recorder: Recorder, clock: Clock) -> Any:
    def enter(shard: tuple[int, int], made: MadeShard) -> None:
        recorder.record(shard, made)
        clock.update()

    return enter


class RecordOnly(Worker):
    """A worker that returns the record of a shard without writing it."""

    def work(self, shard: tuple[int, int]) -> MadeShard:
        digest = hashlib.sha256(str(shard).encode()).hexdigest()
        offsets = dict.fromkeys(("sample", "spins", "energy", "split"), 4096)
        return MadeShard(ShardRecord(shard_name(shard[0]), *shard, 196608, digest, digest, offsets), "host", 0.1, -2.0)


def test_driver_with_increasing_numbers_of_shards(benchmark, ray_session: Session, tmp_path: Path) -> None:
    """Shards per second and memory of the driver for increasing numbers of shards that are recorded but not written."""
    rates = {}

    def grow() -> None:
        for shards in (100, 1000, 10_000, 100_000) if benchmark.enabled else (10, 100):
            stage = Generate.model_validate(table(shards, 1, 8))
            folder = tmp_path / str(shards)
            folder.mkdir()
            recorder, clock = Recorder.resume(folder, stage), Clock()

            def enter(
                shard: tuple[int, int], made: MadeShard, recorder: Recorder = recorder, clock: Clock = clock
            ) -> None:
                recorder.record(shard, made)
                clock.update()

            dispatch(ray_session, StopRequest(), RecordOnly, (), recorder.missing, enter)
            assert len(Catalog.entered(folder).records) == shards
            rates[shards] = round(1 / clock.seconds_per_shard())

    benchmark.pedantic(grow, rounds=1, iterations=1)
    benchmark.extra_info["shards per second"] = rates
    benchmark.extra_info["driver, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
