"""Synthetic images of spins as a microscope takes them: blurred, noisy, unevenly lit and in unknown units."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics.arguments import spin_field
from rayspin.physics.degradation import Degradation
from rayspin.rng import Seed, generator

Vector = tuple[float, float, float]

_BOX = math.sqrt(12)
"""Width of a box relative to its standard deviation."""


class Microscope(Config):
    """An imaging process; the default is the published degradation alone.

    The steps, in order, for spins of components S_c:

    1. The image is blurred and sampled: s = D S, by `degradation` or a blur of another shape.
    2. A detector counts particles in two images of opposite contrast, Poisson numbers N+ and N- with the means
       counts L (1 + s_c) / 2 and counts L (1 - s_c) / 2, where L is the illumination. Their normalized difference is
       (N+ - N-) / counts, of mean L s_c and variance L / counts. Without `counts` it is L s_c.
    3. A background is added, and the value m becomes gain_c m + offset_c.

    Positions run from -1 to 1 across the image along both axes; x increases with the column, y with the row.
    """

    degradation: Degradation = Degradation()
    """Blur and sampling. Its `sigma` is the width of every shape of blur."""
    blur: Literal["gaussian", "box"] = "gaussian"
    """Shape of the blur: "gaussian", or "box": the mean over a rectangle, whose standard deviation is `sigma`."""
    aspect: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """Ratio of the width of the blur along x to that along y; the product of both widths is sigma^2."""
    components: Literal["xyz", "z"] = "xyz"
    """Measured components: all, or S_z alone."""
    counts: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """Mean number of particles per pixel at S_c = +-1, in the brighter of both images; None for no shot noise."""
    illumination: tuple[float, float] = (0.0, 0.0)
    """Relative change of the illumination from the center to the edge, along x and y: L = 1 + a x + b y."""
    background: Annotated[tuple[float, ...], Field(max_length=5)] = ()
    """Coefficients of x, y, x^2, x y and y^2 in the background; further ones are 0."""
    gain: Vector = (1.0, 1.0, 1.0)
    """Factor of each component."""
    offset: Vector = (0.0, 0.0, 0.0)
    """Offset of each component, after the gain."""

    @model_validator(mode="after")
    def _light_everywhere(self) -> Self:
        if sum(map(abs, self.illumination)) > 1:
            problem = f"{list(self.illumination)} gives a negative illumination in a corner"
            raise InputError("illumination", problem, "give numbers whose magnitudes add up to at most 1")
        return self

    @property
    def noise_amplitude(self) -> float:
        """Amplitude alpha of the noise alpha R with random unit vectors R that has the variance of the shot noise.

        It is sqrt(3 / counts) at the mean illumination and before the gain: alpha R has the variance alpha^2 / 3 in
        each component.
        """
        return 0.0 if self.counts is None else math.sqrt(3 / self.counts)

    def matrices(self, shape: tuple[int, int], scale: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the blur and sampling of rows and of columns, (sites / scale, sites) each.

        Args:
            shape: fine rows and columns.
            scale: fine sites per coarse pixel along each axis.

        Raises:
            InputError: the lattice is invalid or doesn't divide.
        """
        stretch = math.sqrt(self.aspect)
        return self._axis(shape[0], scale, 1 / stretch), self._axis(shape[1], scale, stretch)

    def image(self, fine_NYXC: npt.ArrayLike, scale: int, seed: Seed) -> npt.NDArray[np.float32]:
        """Return the image of spins.

        Args:
            fine_NYXC: fine unit spins (Y, X, 3), or (N, Y, X, 3).
            scale: fine sites per coarse pixel along each axis.
            seed: address of the shot noise, root seed first.

        Returns:
            (..., Y / scale, X / scale, 3), or (..., 1) for S_z alone, float32.

        Raises:
            InputError: an argument is invalid, or the lattice doesn't divide.
        """
        fine = spin_field(fine_NYXC).astype(np.float64)
        measured = slice(None) if self.components == "xyz" else slice(2, 3)
        rows, columns = self.matrices((fine.shape[-3], fine.shape[-2]), scale)
        clean = np.einsum("Yy,...yxc,Xx->...YXc", rows, fine[..., measured], columns, optimize=True)
        x, y = np.meshgrid(*(_positions(sites) for sites in (clean.shape[-2], clean.shape[-3])))
        light = (1 + self.illumination[0] * x + self.illumination[1] * y)[..., None]
        image = light * clean if self.counts is None else self._counted(clean, light, seed)
        terms = zip(self.background, (x, y, x * x, x * y, y * y))
        background = sum((factor * term for factor, term in terms), np.zeros_like(x))[..., None]
        gain, offset = (np.array(values)[measured] for values in (self.gain, self.offset))
        scaled: npt.NDArray[np.float64] = gain * (image + background) + offset
        return scaled.astype(np.float32)

    def _axis(self, sites: int, scale: int, stretch: float) -> npt.NDArray[np.float64]:
        sigma = self.degradation.sigma * stretch
        if self.blur == "gaussian":
            return self.degradation.with_updates(sigma=sigma).matrix(sites, scale)
        sampling: npt.NDArray[np.float64] = self.degradation.with_updates(sigma=0.0).matrix(sites, scale)
        return sampling @ _box(sites, _BOX * sigma)

    def _counted(
        self, clean: npt.NDArray[np.float64], light: npt.NDArray[np.float64], seed: Seed
    ) -> npt.NDArray[np.float64]:
        """Return the normalized difference of two images with shot noise."""
        assert self.counts is not None
        stream = generator("microscope", seed)
        # Averages of unit spins exceed 1 by rounding only.
        means = (np.maximum(self.counts * light * (1 + sign * clean) / 2, 0) for sign in (1, -1))
        bright, dark = (stream.poisson(mean) for mean in means)
        difference: npt.NDArray[np.float64] = (bright - dark) / self.counts
        return difference


def _box(sites: int, width: float) -> npt.NDArray[np.float64]:
    """Return the periodic mean over a box of a width in sites, centered at each site, (sites, sites)."""
    offsets = np.arange(-math.ceil(width / 2), math.ceil(width / 2) + 1)
    # The part of each site, an interval of length 1, that is within the box.
    weights = np.clip(np.minimum(offsets + 0.5, width / 2) - np.maximum(offsets - 0.5, -width / 2), 0, None)
    matrix = np.zeros((sites, sites))
    for offset, weight in zip(offsets, weights / weights.sum() if width else (offsets == 0) * 1.0):
        matrix += weight * np.roll(np.eye(sites), offset, axis=1)
    return matrix


def _positions(pixels: int) -> npt.NDArray[np.float64]:
    """Return the centers of pixels on an axis that runs from -1 to 1."""
    return (2 * np.arange(pixels) + 1) / pixels - 1
