"""The recipe of a dataset: its samples, and the Hamiltonian, schedule and random stream of each sample."""

from __future__ import annotations

import json
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
from rayspin.rundir import package_versions
from rayspin.storage import FORMAT, Catalog, Derived, Point, SplitCounts, Storage, energies_at, points_of

MOST_SAMPLES = 10**9
"""Maximum number of samples in a dataset."""
MOST_SHARDS = 10**6
"""Maximum number of shards in a dataset. The ledger has one line for each shard."""

Shard = tuple[int, int]
"""A shard: (number of its first sample, number of samples)."""

_OPTIONAL = ("variants", "grid", "storage", "derived")
"""Keys that are left out of the identity and of the shard attributes while they have their default values."""


def _square(size: Any) -> Any:
    return (size, size) if isinstance(size, int) else size


class Variant(Config):
    """A Hamiltonian or schedule that replaces that of the job for some samples."""

    hamiltonian: Hamiltonian | None = None
    """Replaces the Hamiltonian of the job."""
    schedule: AnnealSchedule | None = None
    """Replaces the schedule of the job."""


class Recipe(Config):
    """Samples of a dataset and their division into shards.

    Sample i uses the Hamiltonian and the schedule of point i mod (number of points), and the random stream (seed, i).
    """

    samples: int = pydantic.Field(gt=0, le=MOST_SAMPLES)
    """Number of samples. A larger number extends a finished dataset."""
    size: Annotated[
        tuple[Annotated[int, pydantic.Field(gt=1)], Annotated[int, pydantic.Field(gt=1)]],
        pydantic.BeforeValidator(_square, json_schema_input_type=int | tuple[int, int]),
    ] = (128, 128)
    """Rows and columns of the lattice; a single integer for a square lattice."""
    seed: int = pydantic.Field(default=0, ge=0, lt=2**63)
    """Root seed. Sample i is annealed with the random stream (seed, i)."""
    shard_samples: int = pydantic.Field(default=64, gt=0)
    """Samples in each shard (file). The values of the samples do not depend on it. Limit: one million shards."""
    hamiltonian: Hamiltonian
    """Energy of the spins: a table of couplings or the name of a preset."""
    schedule: AnnealSchedule = pydantic.Field(default_factory=lambda data: measured_schedule(data["hamiltonian"]))
    """Annealing schedule. Default: preset "domain" if the Hamiltonian has a dipole term, else "labyrinth"; see
    docs/schedules.md."""
    variants: tuple[Variant, ...] = ()
    """Several Hamiltonians or schedules in one dataset; successive samples use them in turn."""
    grid: dict[str, tuple[Any, ...]] = pydantic.Field(default={}, validate_default=True)
    """Lists of values by dotted key ("hamiltonian.dmi"). Every variant is combined with every point of this grid, up to
    50,000 points in total."""
    splits: SplitCounts = SplitCounts(test=0)
    """Number of test and validation samples; all other samples are for training."""
    storage: Storage = Storage()
    """Compression of the shards."""
    derived: Derived = Derived()
    """Derived variables to store with the spins. `open_dataset` computes those that are not stored."""

    _points: tuple[Point, ...] = pydantic.PrivateAttr()

    @pydantic.model_validator(mode="after")
    def _splits_fit(self) -> Recipe:
        held_back = self.splits.test + self.splits.validation
        if held_back > self.samples:
            raise InputError(
                "splits", f"test and validation have {held_back} samples, of {self.samples} in all", "increase samples"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _shards_can_be_listed(self) -> Recipe:
        shards = -(-self.samples // self.shard_samples)
        if shards > MOST_SHARDS:
            problem = f"{self.samples} samples in shards of {self.shard_samples} give {shards} files"
            raise InputError("shard_samples", problem, f"increase shard_samples: the limit is {MOST_SHARDS} shards")
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
        """The Hamiltonians and schedules of the samples; sample i uses point i mod (number of points)."""
        return self._points

    def unset(self) -> set[str]:
        """Return the optional keys that have their default values."""
        return {key for key in _OPTIONAL if getattr(self, key) == type(self).model_fields[key].default}

    def shards(self) -> list[Shard]:
        """Return all shards of the dataset in order."""
        return Catalog(Path(), ()).missing(self.samples, self.shard_samples)

    def shard_attributes(self) -> dict[str, str]:
        """Return the global attributes of each shard: everything that its values depend on."""
        table, unset = self.to_table(), self.unset()
        return {
            "title": "spin configurations by simulated annealing",
            "source": f"rayspin {__version__}",
            "format": str(FORMAT),
            "hamiltonian": json.dumps(self.hamiltonian.to_table()),
            "schedule": json.dumps(self.schedule.to_table()),
            **{key: json.dumps(table[key]) for key in ("variants", "grid", "derived") if key not in unset},
            "root_seed": str(self.seed),
            "versions": package_versions(("numpy", "numba", "netCDF4", "h5py")),
        }

    def check_reachable(self) -> None:
        """Raise InputError if the torque tolerance of a schedule is too small to be reached."""
        for point in self.points:
            point.schedule.check_reachable()

    def anneal_sample(self, sample: int) -> npt.NDArray[np.float32]:
        """Anneal one sample in this process and return its spins, (Y, X, 3)."""
        point = self.points[sample % len(self.points)]
        return anneal(point.hamiltonian, size=self.size, schedule=point.schedule, seed=(self.seed, sample))

    def sample(self, sample: int) -> tuple[npt.NDArray[np.float32], float]:
        """Anneal one sample in this process and return its spins, (Y, X, 3), and its energy per site in J."""
        spins_YXC = self.anneal_sample(sample)
        return spins_YXC, float(energies_at(self.points, np.array([sample]), spins_YXC[None])[0])
