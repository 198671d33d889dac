"""Resolution-lowering as data: the same object degrades a dataset and sits in the loss of a network.

Every degradation here is linear and acts on rows and columns alike, so it is one matrix for each axis:
coarse = D_Y fine D_X^T. Random defects of an image (noise, dropped pixels) are not part of it: the loss
couldn't compare them; `rayspin.training.SuperResolutionObjective` adds them to the input.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics.arguments import lattice, vectors, whole

# Below the rounding of float32 fields: weights on this grid don't depend on a maths library's last bits.
_GRID = 2.0**32


class Degradation(Config):
    """How fine spins become coarse ones; the default is the published Gaussian, 23x23 with sigma 1, strided.

    In order: a Gaussian blur on the fine lattice, one value for each block of scale x scale sites, a
    further blur of the coarse image, a mosaic of it. All are periodic. Degraded spins are not normalized.
    """

    sigma: Annotated[float, Field(ge=0)] = 1.0
    """Width of the Gaussian blur, fine sites; 0 for none."""
    window: Annotated[int, Field(ge=1)] = 23
    """Side of the window that the Gaussian is cut to and normalized in, fine sites, odd."""
    sampling: Literal["corner", "average"] = "corner"
    """What stands for a block: its first site (published: a strided convolution), or its average."""
    coarse_sigma: Annotated[float, Field(ge=0)] = 0.0
    """Width of the further blur, coarse pixels; 0 for none."""
    mosaic: Annotated[int, Field(ge=1)] = 1
    """Side of the tiles of the mosaic, coarse pixels; every tile shows its average."""

    @model_validator(mode="after")
    def _window_has_a_middle(self) -> Self:
        if self.window % 2 == 0:
            raise InputError("window", f"{self.window} has no middle site", "give an odd number")
        return self

    def check_lattice(self, shape: int | tuple[int, int], scale: int) -> None:
        """Raise InputError unless a fine lattice of (rows, columns) can be degraded by `scale`."""
        rows, columns = lattice(shape, "open")
        block = whole("scale", scale, 1) * self.mosaic
        if rows % block or columns % block:
            raise InputError(
                "degradation",
                f"{rows} x {columns} sites don't divide into blocks of {block}",
                "change the size, the scale or the mosaic",
            )

    def matrix(self, sites: int, scale: int) -> npt.NDArray[np.float64]:
        """The degradation of one axis, (sites / scale, sites): coarse values are its product with fine ones.

        Rows sum to 1: uniform spins stay as they are.

        Raises:
            InputError: the axis doesn't divide; likewise from `inverse`.
        """
        self.check_lattice(sites, scale)
        return _matrix(self, sites, scale)

    def inverse(self, sites: int, scale: int) -> npt.NDArray[np.float64]:
        """Fourier interpolation of one axis that undoes the degradation, (sites, sites / scale).

        Fine spins are taken to be a sum of the waves below the coarse Nyquist frequency, as many as there are
        coarse pixels, and the sum whose degraded version is the coarse image is the answer: the degradation's
        own damping of each wave is divided out. Exact for fields without waves beyond the band; what lies
        beyond is folded into it by the degradation, and stays there.
        """
        self.check_lattice(sites, scale)
        return _inverse(self, sites, scale)

    def apply(self, fine_NYXC: npt.ArrayLike, scale: int) -> npt.NDArray[np.float32]:
        """The coarse version of spins, (..., Y, X, C) to (..., Y / scale, X / scale, C), the same bytes on any machine.

        Raises:
            InputError: no lattice of vectors, or it doesn't divide.
        """
        fine = vectors("spins", fine_NYXC).astype(np.float64)
        rows, columns = fine.shape[-3:-1]
        self.check_lattice((rows, columns), scale)
        # Rows of the lattice, then columns; both in float64.
        coarse = self._along(fine, scale, -3)
        return self._along(coarse, scale, -2).astype(np.float32)

    def _along(self, fine: npt.NDArray[np.float64], scale: int, axis: int) -> npt.NDArray[np.float64]:
        """One axis of it. All tiles of the mosaic have the same weights, counted from their first site."""
        sites = fine.shape[axis]
        weights = np.round(self.matrix(sites, scale)[0] * _GRID) / _GRID
        starts = np.arange(0, sites, scale * self.mosaic)
        # Added one by one: the order in which a linear algebra library adds depends on the CPU.
        tiles = sum(weights[offset] * fine.take((starts + offset) % sites, axis) for offset in np.flatnonzero(weights))
        return np.repeat(tiles, self.mosaic, axis)


@cache
def _matrix(config: Degradation, sites: int, scale: int) -> npt.NDArray[np.float64]:
    blur = _periodic_gaussian(sites, config.sigma, config.window)
    coarse = sites // scale
    blocks = blur.reshape(coarse, scale, sites)
    sampled = blocks[:, 0] if config.sampling == "corner" else blocks.mean(axis=1)
    further = _periodic_gaussian(coarse, config.coarse_sigma, 2 * int(np.ceil(4 * config.coarse_sigma)) + 1)
    tiles = np.kron(np.eye(coarse // config.mosaic), np.full((config.mosaic, config.mosaic), 1 / config.mosaic))
    matrix: npt.NDArray[np.float64] = tiles @ further @ sampled
    matrix.flags.writeable = False
    return matrix


@cache
def _inverse(config: Degradation, sites: int, scale: int) -> npt.NDArray[np.float64]:
    wave_numbers = np.fft.fftfreq(sites // scale, scale / sites)
    waves = np.exp(2j * np.pi * np.outer(np.arange(sites), wave_numbers) / sites)
    # The real part makes one cosine of the wave at the Nyquist frequency, which has no partner.
    matrix: npt.NDArray[np.float64] = (waves @ np.linalg.pinv(config.matrix(sites, scale) @ waves)).real
    matrix.flags.writeable = False
    return matrix


def _periodic_gaussian(sites: int, sigma: float, window: int) -> npt.NDArray[np.float64]:
    """(sites, sites): a Gaussian cut to a window and normalized, wound around the axis."""
    if sigma == 0:
        return np.eye(sites)
    offsets = np.arange(window) - window // 2
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    matrix = np.zeros((sites, sites))
    for offset, weight in zip(offsets, weights / weights.sum()):
        matrix += weight * np.roll(np.eye(sites), offset, axis=1)
    return matrix
