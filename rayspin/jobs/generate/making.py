"""Generate the shards of a recipe in a worker process."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin import physics
from rayspin.execution.work_queue import Worker
from rayspin.inputs import read_text
from rayspin.jobs.generate.recipe import Recipe, Shard
from rayspin.physics import AnnealSchedule, anneal, anneal_many
from rayspin.storage import (
    ShardRecord,
    ShardWriter,
    each_point,
    energies_at,
    parameters_of,
    point_numbers,
    shard_name,
    variables_of,
)

# The prefix `.tmp-` marks temporary files, which the next run removes.
_NOTE = ".tmp-making-"
_NOTE_BYTES = 100

_TIMED_SAMPLES = 5
_TIMED_S = 3.0
_TIMED_UPDATES = 1e9
"""Number of spin updates that takes a few seconds with any Hamiltonian. Samples with more updates are timed over a
fraction of their sweeps."""
_LIKELY_QUENCH = 6000
"""Mean number of quench sweeps of 128 x 128 labyrinths until the tolerance of 1e-4 J is reached."""


@dataclass(frozen=True)
class MadeShard:
    """Result of a worker for a shard that it has written.

    Attributes:
        record: file name, samples and digests of the shard.
        host: host name of the worker.
        seconds: wall time for annealing and writing, s.
        mean_energy: mean energy per site over the samples, J.
    """

    record: ShardRecord
    host: str
    seconds: float
    mean_energy: float


class ShardMaker(Worker[Shard, MadeShard]):
    """Anneals the samples of a shard and writes them.

    Args:
        recipe: recipe of the dataset.
        folder: folder of the dataset.
        gpu: anneal all samples of a shard simultaneously on the GPU of this process.

    Raises:
        InputError: `gpu` is true and this process has no usable GPU.
    """

    def __init__(self, recipe: Recipe, folder: Path, gpu: bool = False) -> None:
        if gpu:
            from rayspin.physics.gpu import check_available  # Importing it takes a second.

            check_available()
        self._recipe, self._folder, self._gpu = recipe, folder, gpu
        self._parameters = parameters_of(recipe.points)
        variables = variables_of(recipe.points, recipe.derived)
        self._writer = ShardWriter(recipe.shard_attributes(), variables, recipe.storage)
        warm_up(recipe)

    def work(self, item: Shard) -> MadeShard:
        """Generate and write one shard, given as (first sample, number of samples)."""
        with in_the_making(self._folder, item[0]):
            return self._make(*item)

    def _make(self, first: int, count: int) -> MadeShard:
        start = time.perf_counter()
        samples = np.arange(first, first + count, dtype=np.int64)
        spins_NYXC = self._anneal(samples)
        recipe = self._recipe
        energies = energies_at(recipe.points, samples, spins_NYXC)
        points, derived = point_numbers(samples, recipe.points), recipe.derived
        values: dict[str, npt.NDArray[Any]] = {
            "sample": samples,
            "spins": spins_NYXC,
            "energy": energies,
            "split": recipe.splits.codes(samples),
            **{name: derived.compute(name, recipe.points, samples, spins_NYXC) for name in derived.variables},
            **{name: column[points] for name, (_, column) in self._parameters.items()},
        }
        record = self._writer.write(self._folder / shard_name(first), values)
        seconds = round(time.perf_counter() - start, 3)
        return MadeShard(record, socket.gethostname(), seconds, float(energies.mean()))

    def _anneal(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the spins of `samples`, (N, Y, X, 3)."""
        recipe = self._recipe
        spins_NYXC = np.empty((len(samples), *recipe.size, 3), np.float32)
        if not self._gpu:
            for spins_YXC, sample in zip(spins_NYXC, samples):
                spins_YXC[:] = _anneal_named(recipe, int(sample))
            return spins_NYXC
        for point, mine in each_point(recipe.points, samples):
            seeds = [(recipe.seed, int(sample)) for sample in samples[mine]]
            spins_NYXC[mine] = anneal_many(point.hamiltonian, recipe.size, point.schedule, seeds, device="cuda")
        return spins_NYXC


def _anneal_named(recipe: Recipe, sample: int) -> npt.NDArray[np.float32]:
    try:
        return recipe.anneal_sample(sample)
    except Exception as error:
        # `explain` searches the traceback for this note.
        error.add_note(f"in sample {sample}")
        raise


def warm_up(recipe: Recipe) -> None:
    """Compile the kernels that the samples need, or load them from the Numba cache."""
    present = {tuple(bool(np.any(term)) for term in dict(p.hamiltonian).values()): p for p in recipe.points}
    for point in present.values():
        physics.warm_up(point.hamiltonian)


def seconds_per_sample(recipe: Recipe) -> float:
    """Measure the time for one sample on one core of this machine, s: the mean over some of the points."""
    warm_up(recipe)
    seconds: list[float] = []
    end = time.perf_counter() + _TIMED_S
    for number in np.linspace(0, len(recipe.points) - 1, _TIMED_SAMPLES).astype(int):
        hamiltonian, whole = recipe.points[number].hamiltonian, recipe.points[number].schedule
        share = min(1.0, _TIMED_UPDATES / (math.prod(recipe.size) * max(1, _updates(whole))))
        part = whole.with_updates(
            sweeps=math.ceil(share * whole.sweeps), quench_sweeps=math.ceil(share * _quench_sweeps(whole))
        )
        start = time.perf_counter()
        anneal(hamiltonian, size=recipe.size, schedule=part, seed=(recipe.seed, int(number)))
        seconds.append((time.perf_counter() - start) * max(1, _updates(whole)) / max(1, _updates(part)))
        if time.perf_counter() > end:
            break
    return sum(seconds) / len(seconds)


def bytes_per_sample(recipe: Recipe) -> int:
    """Return the uncompressed size of one sample in a shard."""
    variables = variables_of(recipe.points, recipe.derived).values()
    return sum(np.dtype(of.dtype).itemsize * math.prod(of.shape(1, recipe.size)) for of in variables)


def _updates(schedule: AnnealSchedule) -> int:
    """Return the maximum number of updates of each spin."""
    return schedule.sweeps * (1 + schedule.over_relaxation) + _quench_sweeps(schedule)


def _quench_sweeps(schedule: AnnealSchedule) -> int:
    return _LIKELY_QUENCH if schedule.quench_sweeps is None else schedule.quench_sweeps


@contextmanager
def in_the_making(folder: Path, first_sample: int) -> Iterator[None]:
    """Keep a note file in the folder while this process generates the shard that starts with `first_sample`."""
    note = folder / f"{_NOTE}{socket.gethostname()}-{os.getpid()}"
    # Only `rayspin status` reads the notes, so errors in writing them are ignored.
    with suppress(OSError):
        note.write_text(str(first_sample), encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            note.unlink()


def shards_in_the_making(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Yield (host, first sample, start in seconds since the epoch) of each shard for which there is a note file.

    The notes of killed processes remain until the next run removes them.
    """
    for note in sorted(folder.glob(f"{_NOTE}*")):
        with suppress(OSError, ValueError):
            host = note.name.removeprefix(_NOTE).rpartition("-")[0]
            yield host, int(read_text(note, limit=_NOTE_BYTES)), note.stat().st_mtime
