"""What Ray and bookkeeping cost beside the kernel; `make bench` gives figures."""

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
LOOK_S = 0.02


class Clock:
    """A progress that notes when each shard was entered."""

    def __init__(self) -> None:
        self.times: list[float] = []

    @contextmanager
    def track(self, *_args: Any) -> Iterator[Clock]:
        yield self

    def update(self, *_args: Any, **_figures: Any) -> None:
        self.times.append(time.perf_counter())

    def say(self, text: str) -> None:
        pass

    def seconds_a_shard(self) -> float:
        """From the first result of the last worker to begin on: start-up is not in it."""
        return (self.times[-1] - self.times[CORES - 1]) / (len(self.times) - CORES)


class Bare(Worker):
    """The kernel alone."""

    def __init__(self, stage: Generate) -> None:
        self._stage = stage
        warm_up(stage)

    def work(self, item: tuple[int, int]) -> None:
        for sample in range(item[0], sum(item)):
            self._stage.anneal_sample(sample)


def run_bare(stage: Generate, folder: Path) -> None:
    """All samples by the kernel alone, on every core; an empty file in the place of each shard."""
    folder.mkdir()
    over = lambda shard, _: (folder / shard_name(shard[0])).touch()  # noqa: E731
    dispatch_to_processes(CORES, StopRequest(), Bare, (stage,), stage.shards(), over, partial(warm_up, stage))


def run_whole(stage: Generate, folder: Path) -> None:
    """The job as `rayspin run` does it."""
    session = Session(cpus=CORES)
    try:
        job.run(stage, folder, Context(session))
    finally:
        session.close()


class InTurns:
    """A process tree that makes the shards of a job, and stands still but for its turns.

    Args:
        target: the function of the process, `run_bare` or `run_whole`.
        stage: the job.
        folder: where the shards will be.
    """

    def __init__(self, target: Callable[[Generate, Path], None], stage: Generate, folder: Path) -> None:
        self._folder, self._order = folder, [shard_name(first) for first, _ in stage.shards()]
        self._over: dict[str, float] = {}
        """By shard, the seconds that all turns together took until it was there; 0 before the first turn."""
        self._seconds = 0.0
        self._tree = ProcessTree(target, stage, folder)
        while len(self._over) < CORES and self._tree.alive:
            time.sleep(LOOK_S)
            self._look(0.0)
        self._tree.pause()
        self._look(0.0)

    @property
    def nearly_done(self) -> bool:
        """Whether a core may be out of work."""
        return len(self._over) > len(self._order) - CORES

    def turn(self) -> None:
        start = time.perf_counter()
        self._tree.resume()
        while (seconds := time.perf_counter() - start) < TURN_S:
            time.sleep(LOOK_S)
            self._look(self._seconds + time.perf_counter() - start)
        self._tree.pause()
        self._seconds += seconds

    def seconds_a_shard(self) -> float:
        """Over all cores. A shard begins when the one before it on the same core is over: they are given out in order.

        Those that began before the first turn are left out.
        """
        ends = sorted(self._over.values())
        taken = [
            self._over[shard] - begin
            for shard, begin in zip(self._order[CORES:], ends)
            if shard in self._over and begin > 0
        ]
        return float(np.mean(taken)) / CORES

    def end(self) -> None:
        """Let it come to its end."""
        self._tree.end()

    def _look(self, seconds: float) -> None:
        for path in self._folder.glob("shard-*.nc"):
            self._over.setdefault(path.name, seconds)


@pytest.mark.timeout(1800)
def test_a_run_beside_the_bare_kernel(benchmark, tmp_path: Path) -> None:
    """128 x 128, 2000 sweeps, both cores: seconds a shard of a whole run, all of Ray with it, over the kernel's own.

    They take turns of some seconds: what other tenants do to a machine lasts longer, and what all clocks of Ray make up
    for after a stop is little beside it.
    """
    rounds, shards, per_shard, size, sweeps = (3, 16, 100, 128, 1000) if benchmark.enabled else (1, 4, 2, 16, 10)
    stage = Generate.model_validate(table(shards * per_shard, per_shard, size, sweeps))
    seconds: list[tuple[float, float]] = []

    def both() -> None:
        place = tmp_path / str(len(seconds))
        place.mkdir()
        whole, bare = InTurns(run_whole, stage, place / "data"), InTurns(run_bare, stage, place / "bare")
        while not (bare.nearly_done or whole.nearly_done):
            for each in (bare, whole, whole, bare):
                each.turn()
        for each in (bare, whole):
            each.end()
        assert Catalog.read(place / "data").samples_done == stage.samples
        seconds.append((bare.seconds_a_shard(), whole.seconds_a_shard()) if benchmark.enabled else (1.0, 1.0))

    benchmark.pedantic(both, rounds=rounds, iterations=1)
    benchmark.extra_info["cost over the bare kernel, %"] = [round(100 * (a / b - 1), 1) for b, a in seconds]
    benchmark.extra_info["seconds a shard, bare"] = [round(bare, 2) for bare, _ in seconds]


def test_shards_a_second_without_a_kernel(benchmark, ray_session: Session, tmp_path: Path) -> None:
    """Files of one 128 x 128 sample each, through Ray, ledger and all."""
    shards, size = (2000, 128) if benchmark.enabled else (20, 8)
    stage = RandomSpins.model_validate(table(shards, 1, size))
    clock = Clock()
    benchmark.pedantic(job.run, (stage, tmp_path / "data", Context(ray_session, clock)), rounds=1, iterations=1)
    assert Catalog.read(tmp_path / "data").samples_done == shards
    benchmark.extra_info["shards a second"] = round(1 / clock.seconds_a_shard())


def entering(recorder: Recorder, clock: Clock) -> Any:
    def enter(shard: tuple[int, int], made: MadeShard) -> None:
        recorder.record(shard, made)
        clock.update()

    return enter


class Nothing(Worker):
    """Says that it wrote a shard."""

    def work(self, shard: tuple[int, int]) -> MadeShard:
        digest = hashlib.sha256(str(shard).encode()).hexdigest()
        offsets = dict.fromkeys(("sample", "spins", "energy", "split"), 4096)
        return MadeShard(ShardRecord(shard_name(shard[0]), *shard, 196608, digest, digest, offsets), "host", 0.1, -2.0)


def test_the_driver_stays_flat(benchmark, ray_session: Session, tmp_path: Path) -> None:
    """Bookkeeping of ever more shards, none of which is written: shards a second, and the driver's memory."""
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

            dispatch(ray_session, StopRequest(), Nothing, (), recorder.missing, enter)
            assert len(Catalog.entered(folder).records) == shards
            rates[shards] = round(1 / clock.seconds_a_shard())

    benchmark.pedantic(grow, rounds=1, iterations=1)
    benchmark.extra_info["shards a second"] = rates
    benchmark.extra_info["driver, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
