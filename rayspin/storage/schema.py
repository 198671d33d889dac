"""The schema of a dataset: the stored variables, the split of each sample, and the layout of the shards."""

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
"""The components of a vector, in the stored order."""

FORMAT = 2
"""Version of the shard format. Version 2 gives dimensionless values the CF unit "1". Version 1, which the files don't
name, used "J", which unit-aware programs take for joule. Both store the same values and can be read."""

_LATTICE_DIMENSIONS = 3
"""Least number of dimensions of a variable on the lattice: sample, row and column."""


@dataclass(frozen=True)
class Variable:
    """A stored variable.

    Attributes:
        name: the name in the file.
        dimensions: the names of its dimensions.
        dtype: the type on disk, such as "f4".
        units: the CF attribute `units`.
        long_name: the CF attribute `long_name`.
        attributes: further attributes.
    """

    name: str
    dimensions: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    attributes: dict[str, object] = field(default_factory=dict)

    @property
    def on_lattice(self) -> bool:
        """Whether it has a value or vector at each site (or pixel), rather than one per sample."""
        return len(self.dimensions) >= _LATTICE_DIMENSIONS

    def shape(self, samples: int, size: tuple[int, int]) -> tuple[int, ...]:
        """The shape of the stored array; a dimension such as `y4` has one pixel for 4 rows.

        Args:
            samples: number of samples.
            size: rows and columns of the fine lattice.
        """
        sides = {"y": size[0], "x": size[1]}
        whole = {"sample": samples, "component": len(COMPONENTS)}
        return tuple(whole.get(name) or sides[name[0]] // int(name[1:] or 1) for name in self.dimensions)


IN_J = "in units of the exchange constant J"
"""The end of the long name of an energy: energies are stored as dimensionless multiples of J."""

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
    """How shards store variables on the lattice; the values don't depend on it."""

    compression: Literal["none", "zlib", "zstd"] = "none"
    """Compression of the values. Spins at zero temperature shrink to 80 to 90 % at best, and reading compressed ones
    takes ten times as long."""
    level: int = pydantic.Field(default=4, ge=1, le=9)
    """Compression level, from 1 (fastest) to 9 (smallest)."""


class SplitCounts(Config):
    """The numbers of test and validation samples; all other samples are for training.

    The test samples come first and the validation samples after them, so that a dataset can grow without a sample
    changing its split.
    """

    test: int = pydantic.Field(default=100, ge=0)
    """Number of test samples, the first of the dataset. Use them for the final evaluation only."""
    validation: int = pydantic.Field(default=0, ge=0)
    """Number of validation samples, which follow the test samples. Use them to choose settings and for loss curves."""

    def codes(self, samples: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """The split of each sample, as an index into `SPLITS`, (n,).

        Args:
            samples: (n,) sample numbers, counted from 0.

        Raises:
            InputError: `samples` is not a one-dimensional array of integers.
        """
        samples = series_of_integers("samples", samples)
        held_back = np.where(samples < self.test, 2, 1)
        return np.where(samples < self.test + self.validation, held_back, 0).astype(np.int8)

    def counts(self, samples: int) -> dict[Split, int]:
        """The number of samples in each split of a dataset of `samples` samples."""
        test = min(self.test, samples)
        validation = min(self.validation, samples - test)
        return {"train": samples - test - validation, "validation": validation, "test": test}


class Layout(Config):
    """The values of a job that define the samples of a dataset and their division into shards."""

    model_config = pydantic.ConfigDict(extra="ignore")

    samples: int = pydantic.Field(gt=0)
    """Number of samples."""
    size: tuple[Annotated[int, pydantic.Field(gt=0)], Annotated[int, pydantic.Field(gt=0)]]
    """Rows and columns of the lattice."""
    seed: int
    """Root seed of the samples' random streams."""
    shard_samples: int = pydantic.Field(default=64, gt=0)
    """Number of samples per shard."""
    splits: SplitCounts = SplitCounts(test=0)
    """Numbers of test and validation samples."""
