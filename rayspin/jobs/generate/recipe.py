"""The recipe of a dataset: which samples it has, and what each of them is made from."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin import __version__
from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics import AnnealSchedule, Hamiltonian, anneal
from rayspin.physics.checkerboard import Checkerboard
from rayspin.physics.schedule import measured_schedule
from rayspin.storage import FORMAT, Catalog, Derived, Point, SplitCounts, Storage, energies_at, points_of

MOST_SAMPLES = 10**9
MOST_SHARDS = 10**6
"""Most files of a dataset; the ledger has a line for each."""

Shard = tuple[int, int]
"""A shard to make: (first sample, count)."""

_OPTIONAL = ("variants", "grid", "storage", "derived")
"""Keys that a recipe does not mention where they have their defaults."""


def _square(size: Any) -> Any:
    return (size, size) if isinstance(size, int) else size


class Variant(Config):
    """Another Hamiltonian or schedule than the job's own; what is unset stays."""

    hamiltonian: Hamiltonian | None = None
    schedule: AnnealSchedule | None = None


class Recipe(Config):
    """The samples of a dataset, and how they are divided into shards.

    Sample i has the Hamiltonian and the schedule of point i mod (number of points), and the random stream (seed, i).
    """

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

    _points: tuple[Point, ...] = pydantic.PrivateAttr()

    @pydantic.model_validator(mode="after")
    def _splits_fit(self) -> Recipe:
        held_back = self.splits.test + self.splits.validation
        if held_back > self.samples:
            raise InputError("splits", f"hold back {held_back} of {self.samples} samples", "ask for more samples")
        return self

    @pydantic.model_validator(mode="after")
    def _shards_can_be_listed(self) -> Recipe:
        shards = -(-self.samples // self.shard_samples)
        if shards > MOST_SHARDS:
            problem = f"{self.samples} samples in shards of {self.shard_samples} are {shards} files"
            raise InputError("shard_samples", problem, f"make larger shards: at most {MOST_SHARDS} of them")
        return self

    @pydantic.model_validator(mode="after")
    def _points_are_sound(self) -> Recipe:
        self._points = points_of(self.to_table())
        for point in self._points:
            Checkerboard(*self.size, periodic=point.hamiltonian.boundary == "periodic")
        self.derived.check(self.size, self._points)
        return self

    @property
    def points(self) -> tuple[Point, ...]:
        """The Hamiltonians and schedules that the samples take turns in."""
        return self._points

    def unset(self) -> set[str]:
        """The optional keys that have their defaults."""
        return {key for key in _OPTIONAL if getattr(self, key) == type(self).model_fields[key].default}

    def shards(self) -> list[Shard]:
        """All shards of the dataset."""
        return Catalog(Path(), ()).missing(self.samples, self.shard_samples)

    def shard_attributes(self) -> dict[str, str]:
        """Global attributes of each shard: all that its values depend on."""
        table, unset = self.to_table(), self.unset()
        packages = ("numpy", "numba", "netCDF4", "h5py")
        return {
            "title": "spin configurations by simulated annealing",
            "source": f"rayspin {__version__}",
            "format": str(FORMAT),
            "hamiltonian": json.dumps(self.hamiltonian.to_table()),
            "schedule": json.dumps(self.schedule.to_table()),
            **{key: json.dumps(table[key]) for key in ("variants", "grid", "derived") if key not in unset},
            "root_seed": str(self.seed),
            "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        }

    def check_reachable(self) -> None:
        """Raise InputError if a schedule asks for torques that no sample can have."""
        for point in self.points:
            point.schedule.check_reachable()

    def anneal_sample(self, sample: int) -> npt.NDArray[np.float32]:
        """The spins of one sample, (Y, X, 3), annealed in this process."""
        point = self.points[sample % len(self.points)]
        return anneal(point.hamiltonian, size=self.size, schedule=point.schedule, seed=(self.seed, sample))

    def sample(self, sample: int) -> tuple[npt.NDArray[np.float32], float]:
        """The spins of one sample, (Y, X, 3), annealed in this process, and their energy per site in J."""
        spins_YXC = self.anneal_sample(sample)
        return spins_YXC, float(energies_at(self.points, np.array([sample]), spins_YXC[None])[0])
