"""Degradations: linear maps that lower the resolution of spins, for datasets and for the losses of networks.

Every degradation acts on rows and columns alike, so it is one matrix for each axis: coarse = D_Y fine D_X^T. Random
defects of an image (noise, dropped pixels) are not included, because a loss could not compare them;
`rayspin.training.SuperResolutionObjective` adds them to the input.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Annotated, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics.arguments import lattice, vectors, whole

Maps = npt.NDArray[np.floating]


class LinearMap(Protocol):
    """A degradation of one lattice, as a linear map of one component of the spins, in float32.

    A method `inverse`, of coarse maps (..., y, x), is optional: it returns fine maps whose degraded version is given.
    Without it, maps that commute with translations by whole blocks are inverted in Fourier space.
    """

    def apply(self, fine_YX: Maps, /) -> Maps:
        """Return D x, (..., Y / scale, X / scale), of fine maps (..., Y, X)."""

    def adjoint(self, coarse_YX: Maps, /) -> Maps:
        """Return D^T y, (..., Y, X), with <D x, y> = <x, D^T y>."""


class LinearDegradation(Protocol):
    """Anything that degrades lattices of any size: a `Degradation`, or a class of one's own."""

    def operator(self, shape: tuple[int, int], scale: int, /) -> LinearMap:
        """Return the degradation of a lattice of (rows, columns), with `scale` fine sites per coarse pixel."""


# Weights are rounded to multiples of 1 / _GRID, below the rounding of float32, because their last bits depend on the
# math library.
_GRID = 2.0**32

# Largest factor by which an inverse may amplify a wave along one axis.
_LARGEST_GAIN = 1000


class Degradation(Config):
    """The map from fine to coarse spins; the default is the published Gaussian, 23x23 with sigma 1, strided.

    The steps, in order, are a Gaussian blur on the fine lattice, sampling of one value per block of scale x scale
    sites, a further blur of the coarse image, and a mosaic. All of them are periodic. Degraded spins are not
    normalized.
    """

    sigma: Annotated[float, Field(ge=0)] = 1.0
    """Width of the Gaussian blur, fine sites; 0 disables it."""
    window: Annotated[int, Field(ge=1)] = 23
    """Side of the window in which the Gaussian is truncated and normalized, fine sites; odd."""
    sampling: Literal["corner", "average"] = "corner"
    """Value of a block: its first site ("corner", published as a strided convolution) or its mean ("average")."""
    coarse_sigma: Annotated[float, Field(ge=0)] = 0.0
    """Width of the further blur, coarse pixels; 0 disables it."""
    mosaic: Annotated[int, Field(ge=1)] = 1
    """Side of the tiles of the mosaic, coarse pixels; every tile shows its mean. 1 disables it."""

    @model_validator(mode="after")
    def _window_has_a_middle(self) -> Self:
        if self.window % 2 == 0:
            raise InputError("window", f"{self.window} is even", "give an odd number")
        return self

    def check_lattice(self, shape: int | tuple[int, int], scale: int) -> None:
        """Check that a fine lattice divides into whole blocks and tiles.

        Args:
            shape: sites along each side, or (rows, columns).
            scale: fine sites per coarse pixel along each axis.

        Raises:
            InputError: the lattice is invalid or doesn't divide.
        """
        rows, columns = lattice(shape, "open")
        block = whole("scale", scale, 1) * self.mosaic
        if rows % block or columns % block:
            raise InputError(
                "degradation",
                f"{rows} x {columns} sites don't divide into blocks of {block}",
                "change the size, the scale or the mosaic",
            )

    def matrix(self, sites: int, scale: int) -> npt.NDArray[np.float64]:
        """Return the degradation of one axis, (sites / scale, sites), to be multiplied with fine values.

        Rows sum to 1, so uniform spins are unchanged.

        Args:
            sites: fine sites along the axis.
            scale: fine sites per coarse pixel.

        Raises:
            InputError: the axis doesn't divide.
        """
        self.check_lattice(sites, scale)
        return _matrix(self, sites, scale)

    def inverse(self, sites: int, scale: int) -> npt.NDArray[np.float64]:
        """Return the Fourier interpolation of one axis that inverts the degradation, (sites, sites / scale).

        Fine spins are assumed to be a sum of the waves below the coarse Nyquist frequency, of which there are as many
        as coarse pixels. The interpolation returns the sum whose degraded version is the coarse image, that is, it
        divides out the damping of each wave. It is exact for fields without waves beyond that band. The degradation
        folds other waves into the band, where they remain.

        Args:
            sites: fine sites along the axis.
            scale: fine sites per coarse pixel.

        Raises:
            InputError: the axis doesn't divide.
        """
        self.check_lattice(sites, scale)
        return _inverse(self, sites, scale)

    def transfer(self, sites: int, scale: int) -> npt.NDArray[np.complex128]:
        """Return the factor h of each wave of one axis, (sites,), in the order of `numpy.fft.fft`.

        A degradation without mosaic commutes with shifts by whole blocks, so it maps waves to waves: the Fourier
        coefficient q of the coarse image is the sum of h_k S_k over the waves k = q modulo sites / scale.

        Args:
            sites: fine sites along the axis.
            scale: fine sites per coarse pixel.

        Raises:
            InputError: the axis doesn't divide, or the degradation has a mosaic.
        """
        if self.mosaic > 1:
            raise InputError("mosaic", f"{self.mosaic} mixes the waves of the coarse image", "use mosaic = 1")
        factors: npt.NDArray[np.complex128] = np.fft.fft(self.matrix(sites, scale)[0]).conj() / scale
        return factors

    def check_inverse(self, shape: int | tuple[int, int], scale: int) -> None:
        """Check that `inverse` inverts the degradation, without amplifying a wave by more than 1000 along an axis.

        Beyond that, the rounding of float32 coarse spins exceeds the details that the inverse restores.

        Args:
            shape: sites along each side, or (rows, columns).
            scale: fine sites per coarse pixel along each axis.

        Raises:
            InputError: the lattice is invalid or doesn't divide, or the degradation has no such inverse.
        """
        self.check_lattice(shape, scale)
        for sites in lattice(shape, "open"):
            inverse = self.inverse(sites, scale)
            identity = np.allclose(self.matrix(sites, scale) @ inverse, np.eye(sites // scale), rtol=0, atol=1e-6)
            if not identity or np.linalg.norm(inverse, 2) / np.sqrt(scale) > _LARGEST_GAIN:
                remedy = "use a narrower blur and mosaic = 1"
                raise InputError("degradation", f"it has no inverse at scale {scale}", remedy)

    def operator(self, shape: tuple[int, int], scale: int) -> SeparableMap:
        """Return the degradation of a lattice as a linear map, with its adjoint and its inverse.

        Args:
            shape: fine rows and columns.
            scale: fine sites per coarse pixel along each axis.

        Raises:
            InputError: the lattice is invalid or doesn't divide.
        """
        self.check_lattice(shape, scale)
        return SeparableMap(self, shape, scale)

    def apply(self, fine_NYXC: npt.ArrayLike, scale: int) -> npt.NDArray[np.float32]:
        """Return the coarse version of spins, with the same bytes on any machine.

        Args:
            fine_NYXC: fine spins, (..., Y, X, 3).
            scale: fine sites per coarse pixel along each axis.

        Returns:
            coarse spins, (..., Y / scale, X / scale, 3), float32.

        Raises:
            InputError: the array is not a field of vectors, or the lattice doesn't divide.
        """
        fine = vectors("spins", fine_NYXC).astype(np.float64)
        rows, columns = fine.shape[-3:-1]
        self.check_lattice((rows, columns), scale)
        coarse = self._along(fine, scale, -3)
        return self._along(coarse, scale, -2).astype(np.float32)

    def _along(self, fine: npt.NDArray[np.float64], scale: int, axis: int) -> npt.NDArray[np.float64]:
        """Degrade one axis. The weights of all tiles are the same, relative to their first site."""
        sites = fine.shape[axis]
        weights = np.round(self.matrix(sites, scale)[0] * _GRID) / _GRID
        starts = np.arange(0, sites, scale * self.mosaic)
        # Added one by one, because the order of additions in a linear algebra library depends on the CPU.
        tiles = sum(weights[offset] * fine.take((starts + offset) % sites, axis) for offset in np.flatnonzero(weights))
        return np.repeat(tiles, self.mosaic, axis)


class SeparableMap:
    """A `Degradation` of one lattice; a `LinearMap` that works along rows and columns.

    Args:
        degradation: the degradation.
        shape: fine rows and columns.
        scale: fine sites per coarse pixel along each axis.
    """

    def __init__(self, degradation: Degradation, shape: tuple[int, int], scale: int) -> None:
        self._degradation, self._shape, self._scale = degradation, shape, scale
        self._rows, self._columns = (degradation.matrix(sites, scale).astype(np.float32) for sites in shape)

    def apply(self, fine_YX: Maps) -> Maps:
        """Return D x, (..., Y / scale, X / scale)."""
        return self._rows @ fine_YX @ self._columns.T

    def adjoint(self, coarse_YX: Maps) -> Maps:
        """Return D^T y, (..., Y, X)."""
        return self._rows.T @ coarse_YX @ self._columns

    def inverse(self, coarse_YX: Maps) -> Maps:
        """Return the band-limited maps U y, (..., Y, X), with D U y = y; see `Degradation.inverse`.

        Raises:
            InputError: there is none; see `Degradation.check_inverse`.
        """
        rows, columns = self._inverses
        return rows @ coarse_YX @ columns.T

    @cached_property
    def _inverses(self) -> tuple[Maps, Maps]:
        self._degradation.check_inverse(self._shape, self._scale)
        rows, columns = (self._degradation.inverse(sites, self._scale).astype(np.float32) for sites in self._shape)
        return rows, columns


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
    # The wave at the Nyquist frequency has no conjugate; its real part is a cosine.
    matrix: npt.NDArray[np.float64] = (waves @ np.linalg.pinv(config.matrix(sites, scale) @ waves)).real
    matrix.flags.writeable = False
    return matrix


def _periodic_gaussian(sites: int, sigma: float, window: int) -> npt.NDArray[np.float64]:
    """Return a Gaussian that is truncated to a window, normalized, and wrapped around the axis, (sites, sites)."""
    if sigma == 0:
        return np.eye(sites)
    offsets = np.arange(window) - window // 2
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    matrix = np.zeros((sites, sites))
    for offset, weight in zip(offsets, weights / weights.sum()):
        matrix += weight * np.roll(np.eye(sites), offset, axis=1)
    return matrix
