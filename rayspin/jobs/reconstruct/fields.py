"""The coarse fields of a reconstruction: a dataset that is made coarse, whose truth is known, or images in files."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from rayspin.jobs.stand_in import StandIn
from rayspin.physics import Microscope
from rayspin.storage import SPLITS, Images, SpinReader, Split

Spins = npt.NDArray[np.float32]


class Fields(Protocol):
    """Coarse fields in a fixed order.

    Attributes:
        shape: rows and columns of the fine lattice.
        digest: SHA-256 of the data, in hexadecimal.
        split: the split that the fields belong to, as an index into `SPLITS`.
    """

    shape: tuple[int, int]
    digest: str
    split: int

    def __len__(self) -> int:
        """Number of fields."""

    def numbers(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the sample numbers of some fields, (count,)."""

    def coarse(self, first: int, count: int) -> Spins:
        """Return coarse spins, (count, Y / scale, X / scale, 3), or (..., 1) for S_z alone."""

    def truth(self, first: int, count: int) -> Spins | None:
        """Return the true fine spins, (count, Y, X, 3), or None if they are unknown."""


class DatasetFields:
    """The samples of a split of a dataset, made coarse by a microscope.

    Args:
        reader: samples of the split.
        split: name of the split.
        microscope: the microscope that makes the images.
        scale: fine sites per coarse pixel along each axis.
        seed: root seed; the i-th sample of the split uses the random stream (seed, i).
    """

    def __init__(
        self, reader: SpinReader | StandIn, split: Split, microscope: Microscope, scale: int, seed: int
    ) -> None:
        self._reader, self._microscope, self._scale, self._seed = reader, microscope, scale, seed
        self.shape, self.digest, self.split = reader.shape, reader.digest, SPLITS.index(split)

    def __len__(self) -> int:
        return len(self._reader)

    def numbers(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the numbers of the samples in their dataset, (count,)."""
        return self._reader.samples[first : first + count]

    def coarse(self, first: int, count: int) -> Spins:
        """Return the images of the samples."""
        fine_NYXC = self.truth(first, count)
        images = [
            self._microscope.image(fine_YXC, self._scale, (self._seed, first + n))
            for n, fine_YXC in enumerate(fine_NYXC)
        ]
        return np.stack(images)

    def truth(self, first: int, count: int) -> Spins:
        """Return the spins of the samples."""
        return self._reader.read(np.arange(first, first + count))


class ImageFields:
    """Images in files, whose truth is unknown.

    Args:
        images: the images.
        scale: fine sites per coarse pixel along each axis.
    """

    split = SPLITS.index("test")

    def __init__(self, images: Images, scale: int) -> None:
        self._images = images
        rows, columns = images.values_NYXC.shape[1:3]
        self.shape, self.digest = (scale * rows, scale * columns), images.digest

    def __len__(self) -> int:
        return len(self._images)

    def numbers(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the positions of the images in the order of the files, (count,)."""
        return np.arange(first, first + count, dtype=np.int64)

    def coarse(self, first: int, count: int) -> Spins:
        """Return the images."""
        return self._images.values_NYXC[first : first + count]

    def truth(self, first: int, count: int) -> None:  # noqa: ARG002
        """Return None."""
        return
