"""Generate a dataset: actors anneal samples and write them as shards; this process keeps the ledger."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin import __version__
from rayspin.cluster.fanout import SetAside, fan_out
from rayspin.cluster.stage import Context, Plan, Stage
from rayspin.errors import InputError, RunError
from rayspin.physics import AnnealSchedule, Hamiltonian, anneal, energy, warm_up
from rayspin.physics.checkerboard import Checkerboard
from rayspin.rundir import RunDir, Summary
from rayspin.storage import Catalog, ShardRecord, SplitCounts, ledger, shard_name, write_shard

Shard = tuple[int, int]
"""A shard to make: (first sample, count)."""


def _square(size: Any) -> Any:
    return (size, size) if isinstance(size, int) else size


class Generate(Stage):
    """A dataset of annealed spin configurations."""

    may_change: ClassVar[frozenset[str]] = frozenset({"samples"})

    kind: Literal["generate"] = "generate"
    samples: int = pydantic.Field(gt=0)
    """How many; a finished dataset grows if it is asked for more."""
    size: Annotated[
        tuple[Annotated[int, pydantic.Field(gt=1)], Annotated[int, pydantic.Field(gt=1)]],
        pydantic.BeforeValidator(_square, json_schema_input_type=int | tuple[int, int]),
    ] = (128, 128)
    """Rows and columns of the lattice; one number for a square."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root of all randomness: sample i is annealed with the stream (seed, i)."""
    shard_samples: int = pydantic.Field(default=64, gt=0)
    """Samples in a file; they don't depend on it."""
    hamiltonian: Hamiltonian
    schedule: AnnealSchedule = AnnealSchedule()
    splits: SplitCounts = SplitCounts(test=0)

    @pydantic.model_validator(mode="after")
    def _splits_fit(self) -> Generate:
        held_back = self.splits.test + self.splits.validation
        if held_back > self.samples:
            raise InputError("splits", f"hold back {held_back} of {self.samples} samples", "ask for more samples")
        return self

    @pydantic.model_validator(mode="after")
    def _lattice_has_two_colours(self) -> Generate:
        Checkerboard(*self.size, periodic=self.hamiltonian.boundary == "periodic")
        return self

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:  # noqa: ARG002
        """Nothing may be there that can't become this dataset."""
        run.check_same(self.identity(), self.may_change)
        there = Catalog.read(run.path).samples_done
        if there > self.samples:
            raise InputError(
                f"{run.path}: samples",
                f"{there} are there and the job asks for {self.samples}",
                "a dataset can only grow",
            )

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:  # noqa: ARG002
        """Shards, bytes and core-hours still to go, from one sample annealed here."""
        shards = Catalog.read(run.path).missing(self.samples, self.shard_samples)
        left = sum(count for _, count in shards)
        seconds = left * self._seconds_a_sample() if left else 0.0
        rows, columns = self.size
        size = left * rows * columns * 3 * 4
        figures = {
            "samples": f"{self.samples} of {rows} x {columns}, {self.samples - left} done",
            "shards to write": f"{len(shards)} of up to {self.shard_samples} samples",
        }
        return Plan("generate", figures, seconds, size)

    def run(self, run: RunDir, context: Context) -> Summary:
        """Anneal what is missing, shard by shard, on every core of the session."""
        recorder = Recorder(run.path, self)
        shards = recorder.missing
        if shards:
            with context.progress.track("generate", self.samples, "sample", recorder.samples_done) as track:

                def finished(shard: Shard, made: MadeShard) -> None:
                    recorder.enter(shard, made)
                    track.update(recorder.samples_done, energy=made.mean_energy)

                maker = (self, run.path.resolve())
                outcome = fan_out(context.session, context.stop, ShardMaker, maker, shards, finished)
            if outcome.set_aside:
                raise quarantined(run.path, outcome.set_aside)
            if outcome.left:
                done = f"{recorder.samples_done} of {self.samples} samples done"
                raise context.stop.incomplete(str(run.path), done)
        return recorder.summary()

    def cut(self) -> list[Shard]:
        """All shards of the whole job."""
        return Catalog(Path(), ()).missing(self.samples, self.shard_samples)

    def shard_attributes(self) -> dict[str, str]:
        """Global attributes of each shard: all that its values depend on."""
        packages = ("numpy", "numba", "netCDF4", "h5py")
        return {
            "title": "spin configurations by simulated annealing",
            "source": f"rayspin {__version__}",
            "hamiltonian": json.dumps(self.hamiltonian.to_table()),
            "schedule": json.dumps(self.schedule.to_table()),
            "root_seed": str(self.seed),
            "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        }

    def _seconds_a_sample(self) -> float:
        warm_up(self.hamiltonian)
        start = time.perf_counter()
        self.anneal_sample(0)
        return time.perf_counter() - start

    def anneal_sample(self, sample: int) -> npt.NDArray[np.float32]:
        """Sample number `sample` of this dataset, (Y, X, 3): the one line that a shard repeats."""
        return anneal(self.hamiltonian, size=self.size, schedule=self.schedule, seed=(self.seed, sample))


@dataclass(frozen=True)
class MadeShard:
    """What an actor says of a shard that it put in place."""

    record: ShardRecord
    host: str
    seconds: float
    mean_energy: float


class ShardMaker:
    """Anneals the samples of a shard one after another and writes them; lives in an actor, one on each core."""

    def __init__(self, job: Generate, folder: Path) -> None:
        self._job, self._folder = job, folder
        warm_up(job.hamiltonian)

    def work(self, item: Shard) -> MadeShard:
        """Make the shard (first sample, count)."""
        first, count = item
        start = time.perf_counter()
        samples = np.arange(first, first + count, dtype=np.int64)
        spins_NYXC = np.stack([self._job.anneal_sample(int(sample)) for sample in samples])
        energies = np.asarray(energy(spins_NYXC, self._job.hamiltonian))
        values: dict[str, npt.NDArray[Any]] = {
            "sample": samples,
            "spins": spins_NYXC,
            "energy": energies,
            "split": self._job.splits.codes(samples),
        }
        record = write_shard(self._folder / shard_name(first), values, self._job.shard_attributes())
        seconds = round(time.perf_counter() - start, 3)
        return MadeShard(record, socket.gethostname(), seconds, float(energies.mean()))


class Recorder:
    """Keeps the ledger of one run: adopts what a killed run left in place, enters what workers make.

    Args:
        folder: the dataset's; claimed.
        job: what is made there.
        mine: which shards are this process's to make; by default all, and then it has the folder alone.
        to: name of the ledger that this process writes.
    """

    def __init__(
        self, folder: Path, job: Generate, mine: Callable[[Shard], bool] | None = None, to: str = ledger.LEDGER
    ) -> None:
        self._folder, self._job, self._to = folder, job, to
        if mine is None:
            ledger.merge(folder)
        self._catalog = Catalog.read(folder)
        self.samples_done = self._catalog.samples_done
        self.missing: list[Shard] = []
        """The shards still to make."""
        attributes = job.shard_attributes()
        in_place = {path.name for path in folder.glob("shard-*.nc")}
        for shard in self._catalog.missing(job.samples, job.shard_samples):
            if mine is not None and not mine(shard):
                continue
            orphan = self._catalog.orphan(*shard, attributes) if shard_name(shard[0]) in in_place else None
            if orphan is None:
                self.missing.append(shard)
            else:
                self._catalog.append(orphan, to, note="adopted")
                self.samples_done += orphan.count

    def enter(self, shard: Shard, made: MadeShard) -> None:
        """Enter a shard that a worker put in place."""
        self._catalog.append(made.record, self._to, host=made.host, seconds=made.seconds)
        self.samples_done += shard[1]

    def summary(self) -> Summary:
        """The table of the whole dataset."""
        catalog = Catalog.read(self._folder)
        energies = catalog.column("energy")
        return Summary(
            "dataset",
            {
                "samples": f"{catalog.samples_done} of {self._job.size[0]} x {self._job.size[1]}",
                "shards": f"{len(catalog.records)}, {catalog.bytes / 1e6:.1f} MB",
                "energy per site": f"{energies.mean():.5f} +- {energies.std():.5f} J",
            },
            hints=(f"rayspin show {self._folder} --png dataset.png",),
        )


def quarantined(folder: Path, set_aside: list[SetAside[Shard]]) -> RunError:
    """The error for shards that could not be made; their tracebacks go to a file each."""
    for failure in set_aside:
        first, _ = failure.item
        (folder / f"failed-{first:08d}.txt").write_text(failure.trace, encoding="utf-8")
    first, count = set_aside[0].item
    return RunError(
        str(folder),
        f"{len(set_aside)} shards failed, the first (samples {first} to {first + count - 1}) with {set_aside[0].error}",
        f"see {folder / f'failed-{first:08d}.txt'}; the others are done, and the same command tries these again",
    )


def make_here(job: Generate, folder: Path) -> Summary:
    """Make the dataset of a job in this process, or what is missing of it; the folder is there, and this job's."""
    recorder = Recorder(folder, job)
    maker = ShardMaker(job, folder)
    for shard in recorder.missing:
        recorder.enter(shard, maker.work(shard))
    return recorder.summary()
