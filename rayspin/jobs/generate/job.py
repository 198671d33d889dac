"""Generate a dataset: actors anneal samples and write them as shards; this process keeps the ledger."""

from __future__ import annotations

import json
import math
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
from rayspin.config import Config, build
from rayspin.errors import Incomplete, InputError
from rayspin.execution.dispatcher import Worker, fan_out
from rayspin.execution.session import Session
from rayspin.jobs.generate.recorder import Recorder, Shard, in_the_making, settle
from rayspin.jobs.stage import Context, Plan, Stage
from rayspin.physics import (
    AnnealSchedule,
    Hamiltonian,
    anneal,
    anneal_many,
    warm_up,
)
from rayspin.physics.checkerboard import Checkerboard
from rayspin.physics.schedule import measured_schedule
from rayspin.rundir import RunDir, Summary, Table, sweep_temporaries
from rayspin.storage import (
    FORMAT,
    Catalog,
    Derived,
    Point,
    ShardRecord,
    ShardWriter,
    SplitCounts,
    Storage,
    each_point,
    energies_at,
    parameters_of,
    point_numbers,
    points_of,
    shard_name,
    variables_of,
)

MOST_SAMPLES = 10**9
MOST_SHARDS = 10**6
"""Files of a dataset at most; the ledger has a line for each."""

_TIMED_SAMPLES = 5
_TIMED_S = 3.0
_TIMED_UPDATES = 1e9
"""Updates of a spin that take a few seconds, whatever the Hamiltonian: a plan looks no longer at one sample."""
_LIKELY_QUENCH = 6000
"""Sweeps of a quench until its tolerance of 1e-4 J is reached, for a plan: the mean of labyrinths of 128 x 128."""
_EXTENSION = 1000
_FEW_CORES = 4
_WARM_UP_S = 120.0


def _square(size: Any) -> Any:
    return (size, size) if isinstance(size, int) else size


class Variant(Config):
    """Another Hamiltonian or schedule than the job's own; what is unset stays."""

    hamiltonian: Hamiltonian | None = None
    schedule: AnnealSchedule | None = None


class Resources(Config):
    """What a dataset is made on: its bytes are the same on all of it."""

    gpu: bool = False
    """Anneal on GPUs, a shard at a time on each. One works on a thousand fields at once: make shards of as many."""


class Generate(Stage):
    """A dataset of annealed spin configurations."""

    may_change: ClassVar[frozenset[str]] = frozenset({"samples"})

    kind: Literal["generate"] = "generate"
    samples: int = pydantic.Field(gt=0, le=MOST_SAMPLES)
    """How many; a finished dataset grows if it is asked for more."""
    size: Annotated[
        tuple[Annotated[int, pydantic.Field(gt=1)], Annotated[int, pydantic.Field(gt=1)]],
        pydantic.BeforeValidator(_square, json_schema_input_type=int | tuple[int, int]),
    ] = (128, 128)
    """Rows and columns of the lattice; one number for a square."""
    seed: int = pydantic.Field(default=0, ge=0, lt=2**63)
    """Root of all randomness: sample i is annealed with the stream (seed, i)."""
    shard_samples: int = pydantic.Field(default=64, gt=0)
    """Samples in a file; they don't depend on it. A dataset has a million files at most."""
    hamiltonian: Hamiltonian
    schedule: AnnealSchedule = pydantic.Field(default_factory=lambda data: measured_schedule(data["hamiltonian"]))
    """Unset: the preset "domain" where there is a dipole term, else "labyrinth"; docs/schedules.md has the reasons."""
    variants: tuple[Variant, ...] = ()
    """Several Hamiltonians or schedules in one dataset; its samples take turns."""
    grid: dict[str, tuple[Any, ...]] = pydantic.Field(default={}, validate_default=True)
    """Lists of values by dotted key ("hamiltonian.dmi"): every variant at every point of this grid, 50,000 at most."""
    splits: SplitCounts = SplitCounts(test=0)
    storage: Storage = Storage()
    derived: Derived = Derived()
    """What is stored beside the spins; `open_dataset` computes the same where it isn't."""
    resources: Resources = Resources()

    _points: tuple[Point, ...] = pydantic.PrivateAttr()

    @pydantic.model_validator(mode="after")
    def _splits_fit(self) -> Generate:
        held_back = self.splits.test + self.splits.validation
        if held_back > self.samples:
            raise InputError("splits", f"hold back {held_back} of {self.samples} samples", "ask for more samples")
        return self

    @pydantic.model_validator(mode="after")
    def _shards_can_be_listed(self) -> Generate:
        shards = -(-self.samples // self.shard_samples)
        if shards > MOST_SHARDS:
            problem = f"{self.samples} samples in shards of {self.shard_samples} are {shards} files"
            raise InputError("shard_samples", problem, f"make larger shards: at most {MOST_SHARDS} of them")
        return self

    @pydantic.model_validator(mode="after")
    def _points_are_sound(self) -> Generate:
        self._points = points_of(self.to_table())
        for point in self._points:
            Checkerboard(*self.size, periodic=point.hamiltonian.boundary == "periodic")
        self.derived.check(self.size, self._points)
        return self

    def identity(self) -> Table:
        """Without the keys of a grid, a compression or derived variables where there are none."""
        optional = {key: type(self).model_fields[key].default for key in ("variants", "grid", "storage", "derived")}
        unset = {key for key, default in optional.items() if getattr(self, key) == default}
        return {key: value for key, value in super().identity().items() if key not in unset}

    @property
    def points(self) -> tuple[Point, ...]:
        """The Hamiltonians and schedules that the samples take turns in: sample i has point i mod their number."""
        return self._points

    @classmethod
    def of(cls, folder: str | Path) -> Generate:
        """The job that the dataset in `folder` is made by.

        Raises:
            InputError: there is no dataset.
        """
        run = RunDir.at(Path(folder))
        table = run.asked()
        if table is None or table.get("kind") != "generate":
            raise InputError(str(folder), "no dataset", "give the folder that a generate job wrote")
        return build(cls, table, str(run.job_file))

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:  # noqa: ARG002
        """Nothing may be there that can't become this dataset, and its samples can be annealed to the end."""
        self.check_reachable()
        run.check_same(self.identity(), self.may_change)
        there = Catalog.read(run.path).samples_done
        if there > self.samples:
            raise InputError(
                f"{run.path}: samples",
                f"{there} are there and the job asks for {self.samples}",
                "a dataset can only grow",
            )

    def check_reachable(self) -> None:
        """Raise InputError if a schedule asks for torques that no sample can have."""
        for point in self.points:
            point.schedule.check_reachable()

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:  # noqa: ARG002
        """Shards, bytes and core-hours still to go, from one sample annealed here."""
        shards = Catalog.read(run.path).missing(self.samples, self.shard_samples)
        left = sum(count for _, count in shards)
        seconds = self._seconds_a_sample()
        rows, columns = self.size
        variables = variables_of(self.points, self.derived).values()
        bytes_a_sample = sum(np.dtype(of.dtype).itemsize * math.prod(of.shape(1, self.size)) for of in variables)
        more = _EXTENSION * seconds / 3600, _EXTENSION * bytes_a_sample / 1e6
        figures = {
            "samples": f"{self.samples} of {rows} x {columns}, {self.samples - left} done",
            "shards to write": f"{len(shards)} of up to {self.shard_samples} samples",
            "seconds a sample": f"{seconds:.3g} on one core, measured now",
            f"each {_EXTENSION} samples more": f"{more[0]:.3g} core-hours, {more[1]:.1f} MB: --set samples=...",
        }
        return Plan("generate", figures, left * seconds, left * bytes_a_sample, pieces=len(shards))

    def run(self, run: RunDir, context: Context) -> Summary:
        """Anneal what is missing, shard by shard, on every core of the session."""
        recorder = Recorder(run.path, self)
        shards = recorder.missing
        if shards:
            recorder.tell_of_others(context.progress)
            with context.progress.track("generate", self.samples, "sample", recorder.samples_done) as track:

                def finished(shard: Shard, made: MadeShard) -> None:
                    recorder.enter(shard, made)
                    track.update(recorder.samples_done, energy=made.mean_energy)

                maker = (self, run.path.resolve())
                warm_up_nodes(context.session, self)
                outcome = fan_out(
                    context.session, context.stop, ShardMaker, maker, shards, finished, gpu=self.resources.gpu
                )
            done = f"{recorder.samples_done} of {self.samples} samples done"
            settle(run.path, self, outcome, context.stop, done)
        # What workers left that were lost on the way.
        sweep_temporaries(run.path)
        return recorder.summary()

    def done(self, run: RunDir) -> Summary | None:
        """As for any job; but not while some of its shards are missing, which the same command makes."""
        summary = super().done(run)
        whole = summary is None or not Catalog.read(run.path).missing(self.samples, self.shard_samples)
        return summary if whole else None

    def cut(self) -> list[Shard]:
        """All shards of the whole job."""
        return Catalog(Path(), ()).missing(self.samples, self.shard_samples)

    def shard_attributes(self) -> dict[str, str]:
        """Global attributes of each shard: all that its values depend on."""
        table = self.identity()
        packages = ("numpy", "numba", "netCDF4", "h5py")
        return {
            "title": "spin configurations by simulated annealing",
            "source": f"rayspin {__version__}",
            "format": str(FORMAT),
            "hamiltonian": json.dumps(self.hamiltonian.to_table()),
            "schedule": json.dumps(self.schedule.to_table()),
            **{key: json.dumps(table[key]) for key in ("variants", "grid", "derived") if key in table},
            "root_seed": str(self.seed),
            "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        }

    def _seconds_a_sample(self) -> float:
        """Of one core, as a mean over some of the points; of a sample that takes long, from fewer sweeps."""
        self.warm_up()
        seconds: list[float] = []
        end = time.perf_counter() + _TIMED_S
        for number in np.linspace(0, len(self.points) - 1, _TIMED_SAMPLES).astype(int):
            hamiltonian, whole = self.points[number].hamiltonian, self.points[number].schedule
            share = min(1.0, _TIMED_UPDATES / (self.size[0] * self.size[1] * max(1, _updates(whole))))
            part = whole.with_updates(
                sweeps=math.ceil(share * whole.sweeps), quench_sweeps=math.ceil(share * _quench_sweeps(whole))
            )
            start = time.perf_counter()
            anneal(hamiltonian, size=self.size, schedule=part, seed=(self.seed, int(number)))
            seconds.append((time.perf_counter() - start) * max(1, _updates(whole)) / max(1, _updates(part)))
            if time.perf_counter() > end:
                break
        return sum(seconds) / len(seconds)

    def warm_up(self) -> None:
        """Compile what the samples need, or load it from the cache."""
        present = {tuple(bool(np.any(term)) for term in dict(p.hamiltonian).values()): p for p in self.points}
        for point in present.values():
            warm_up(point.hamiltonian)

    def anneal_sample(self, sample: int) -> npt.NDArray[np.float32]:
        """Sample number `sample` of this dataset, (Y, X, 3): the one line that a shard repeats."""
        point = self.points[sample % len(self.points)]
        return anneal(point.hamiltonian, size=self.size, schedule=point.schedule, seed=(self.seed, sample))

    def anneal_samples(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Those samples, (N, Y, X, 3), on a GPU if the job asks for one."""
        spins_NYXC = np.empty((len(samples), *self.size, 3), np.float32)
        if not self.resources.gpu:
            for spins_YXC, sample in zip(spins_NYXC, samples):
                spins_YXC[:] = self._anneal_named(int(sample))
            return spins_NYXC
        for point, mine in each_point(self.points, samples):
            seeds = [(self.seed, int(sample)) for sample in samples[mine]]
            spins_NYXC[mine] = anneal_many(point.hamiltonian, self.size, point.schedule, seeds, device="cuda")
        return spins_NYXC

    def _anneal_named(self, sample: int) -> npt.NDArray[np.float32]:
        try:
            return self.anneal_sample(sample)
        except Exception as error:
            # Goes with the traceback, whoever shows it.
            error.add_note(f"in sample {sample}")
            raise

    def sample(self, sample: int) -> tuple[npt.NDArray[np.float32], float]:
        """The same, with its energy per site in J."""
        spins_YXC = self.anneal_sample(sample)
        return spins_YXC, float(energies_at(self.points, np.array([sample]), spins_YXC[None])[0])


@dataclass(frozen=True)
class MadeShard:
    """What an actor says of a shard that it put in place."""

    record: ShardRecord
    host: str
    seconds: float
    mean_energy: float


class ShardMaker(Worker[Shard, MadeShard]):
    """Anneals the samples of a shard and writes them; lives in an actor, one on each core or on each GPU."""

    def __init__(self, job: Generate, folder: Path) -> None:
        if job.resources.gpu:
            from rayspin.physics import gpu  # takes a second

            gpu.check_available()
        self._job, self._folder = job, folder
        self._parameters = parameters_of(job.points)
        self._writer = ShardWriter(job.shard_attributes(), variables_of(job.points, job.derived), job.storage)
        job.warm_up()

    def work(self, item: Shard) -> MadeShard:
        """Make the shard (first sample, count)."""
        with in_the_making(self._folder, item[0]):
            return self._make(*item)

    def _make(self, first: int, count: int) -> MadeShard:
        start = time.perf_counter()
        samples = np.arange(first, first + count, dtype=np.int64)
        spins_NYXC = self._job.anneal_samples(samples)
        energies = energies_at(self._job.points, samples, spins_NYXC)
        points, derived = point_numbers(samples, self._job.points), self._job.derived
        values: dict[str, npt.NDArray[Any]] = {
            "sample": samples,
            "spins": spins_NYXC,
            "energy": energies,
            "split": self._job.splits.codes(samples),
            **{name: derived.compute(name, self._job.points, samples, spins_NYXC) for name in derived.variables},
            **{name: column[points] for name, (_, column) in self._parameters.items()},
        }
        record = self._writer.write(self._folder / shard_name(first), values)
        seconds = round(time.perf_counter() - start, 3)
        return MadeShard(record, socket.gethostname(), seconds, float(energies.mean()))


def _updates(schedule: AnnealSchedule) -> int:
    """Of each spin, at most."""
    return schedule.sweeps * (1 + schedule.over_relaxation) + _quench_sweeps(schedule)


def _quench_sweeps(schedule: AnnealSchedule) -> int:
    return _LIKELY_QUENCH if schedule.quench_sweeps is None else schedule.quench_sweeps


def warm_up_nodes(session: Session, job: Generate) -> None:
    """Have one process on each node compile what the actors of the node then load from its cache.

    Where nodes have few cores, nothing is saved by it. What goes wrong here goes wrong again in an actor, and is
    told there.
    """
    ray = session.ray()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > _FEW_CORES]
    at = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    tasks = [
        ray.remote(Generate.warm_up)
        .options(num_cpus=1, max_retries=0, scheduling_strategy=at(node["NodeID"], soft=True))
        .remote(job)
        for node in nodes
    ]
    if tasks:
        ray.wait(tasks, num_returns=len(tasks), timeout=_WARM_UP_S)


def make_here(job: Generate, folder: Path, stop: Callable[[], bool] = lambda: False) -> Summary:
    """Make the dataset of a job in this process, or what is missing of it; the folder is there, and this job's.

    Raises:
        Incomplete: `stop`, asked before each shard, said so.
    """
    recorder = Recorder(folder, job)
    maker = ShardMaker(job, folder)
    for shard in recorder.missing:
        if stop():
            done = f"stopped with {recorder.samples_done} of {job.samples} samples done"
            raise Incomplete(str(folder), done, "the same command goes on")
        recorder.enter(shard, maker.work(shard))
    return recorder.summary(card=False)
