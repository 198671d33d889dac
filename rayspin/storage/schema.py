"""What a dataset stores: one registry of variables, and the split that a sample's number puts it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.config import Config
from rayspin.physics.arguments import series_of_integers

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
"""The splits, in the order of their stored codes (0, 1, 2)."""


COMPONENTS = ("x", "y", "z")

FORMAT = 2
"""What shards say of their values: 2 has the unit of dimensionless numbers in CF, "1"; 1, which does not name itself,
had "J", which programs that know units read as joule. The values lie in both alike, and both are read."""

_LATTICE_DIMENSIONS = 4


@dataclass(frozen=True)
class Variable:
    """A stored variable: its name, dimensions, type on disk, unit and meaning (CF attributes)."""

    name: str
    dimensions: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    attributes: dict[str, object] = field(default_factory=dict)

    @property
    def on_lattice(self) -> bool:
        """It has a vector at each site (or pixel) of each sample, and not one value a sample."""
        return len(self.dimensions) == _LATTICE_DIMENSIONS

    def shape(self, samples: int, size: tuple[int, int]) -> tuple[int, ...]:
        """Its shape over so many samples of (rows, columns); along `y4` there is one pixel for 4 rows."""
        sides = {"y": size[0], "x": size[1]}
        whole = {"sample": samples, "component": len(COMPONENTS)}
        return tuple(whole.get(name) or sides[name[0]] // int(name[1:] or 1) for name in self.dimensions)


IN_J = "in units of the exchange constant J"
"""How the long name of an energy ends: lattice units are dimensionless."""

VARIABLES = {
    variable.name: variable
    for variable in (
        Variable(
            "sample",
            ("sample",),
            "i8",
            "1",
            "sample number; with root_seed it names the sample's random stream",
        ),
        Variable("spins", ("sample", "y", "x", "component"), "f4", "1", "spin vectors of unit length"),
        Variable("energy", ("sample",), "f8", "1", f"energy per site, {IN_J}"),
        Variable(
            "split",
            ("sample",),
            "i1",
            "1",
            "the part of the dataset that the sample belongs to",
            {"flag_values": np.arange(len(SPLITS), dtype="i1"), "flag_meanings": " ".join(SPLITS)},
        ),
    )
}
"""The variables of every shard by name. Components are x, y, z; y is the row index, x the column index."""


class Storage(Config):
    """How what is on the lattice lies in a file; its values do not depend on it."""

    compression: Literal["none", "zlib", "zstd"] = "none"
    """Spins at zero temperature shrink to 80 to 90 % at best, and compressed ones are read ten times slower."""
    level: int = pydantic.Field(default=4, ge=1, le=9)
    """Of the compression: 1 is fast, 9 is small."""


class SplitCounts(Config):
    """How many samples are held back; all others train.

    The test samples come first and the validation samples after them, so that a dataset can grow without a
    sample ever changing sides.
    """

    test: int = pydantic.Field(default=100, ge=0)
    """Samples 0 to test - 1: for the last look only."""
    validation: int = pydantic.Field(default=0, ge=0)
    """The samples after them: for choices and curves."""

    def codes(self, samples: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """The split of each sample, numbered from 0, as an index into `SPLITS`."""
        samples = series_of_integers("samples", samples)
        held_back = np.where(samples < self.test, 2, 1)
        return np.where(samples < self.test + self.validation, held_back, 0).astype(np.int8)

    def counts(self, samples: int) -> dict[Split, int]:
        """How many of the first so many samples are in each split."""
        test = min(self.test, samples)
        validation = min(self.validation, samples - test)
        return {"train": samples - test - validation, "validation": validation, "test": test}


class Layout(Config):
    """The numbers in a job that say which samples a dataset has and how they lie in its shards."""

    model_config = pydantic.ConfigDict(extra="ignore")

    samples: int = pydantic.Field(gt=0)
    size: tuple[Annotated[int, pydantic.Field(gt=0)], Annotated[int, pydantic.Field(gt=0)]]
    """Rows and columns of the lattice."""
    seed: int
    shard_samples: int = pydantic.Field(default=64, gt=0)
    splits: SplitCounts = SplitCounts(test=0)
