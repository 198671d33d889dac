"""Conversion of gray levels to a component of the spins: -1 at the dark level and +1 at the bright level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.reconstruction.waves import smoothed

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Percentage = Annotated[float, Field(ge=0, le=100)]

_DEGREES = {"none": 0, "plane": 1, "quadratic": 2}

_BLOCK = 256
_BLOCKS = 64
"""Side of the blocks in which images are smoothed, and the largest number of blocks that levels are fitted to."""

_MOST_PIXELS = 2**15
"""Largest number of pixels that levels are fitted to."""

_STARTS = (20, 35, 50, 65, 80)
"""Percentages of dark pixels from which the fit of two phases starts."""
_STEPS = 100
_STIFFNESS = 0.02
"""Weight of the squared changes of the contrast in the fit of two phases, relative to the squared residuals."""
_NEAREST = 0.03
"""Distance from a phase, in standard deviations of the image, below which all pixels have the same weight."""

_FAINTEST = 0.03
"""Smallest mean contrast, relative to the standard deviation of the image, of levels that are accepted."""
_GRID = np.linspace(-1, 1, 33)
"""Positions along each axis, with the edges, at which the contrast is checked."""
_WEAKEST = 0.3
"""Smallest contrast anywhere, relative to the mean contrast, of levels that are accepted."""


class Levels(Config):
    """How a component of the spins is computed from gray levels.

    A pixel is dark or bright. The middle between both phases and their contrast are polynomials of the position, fitted
    to the image, so that a background, which shifts the levels, and an uneven illumination, which changes the contrast,
    are removed. The dark and the bright level, where the component is -1 and +1, are percentiles of the result; beyond
    them the component is -1 or +1 too.
    """

    background: Literal["none", "plane", "quadratic"] = "quadratic"
    """Polynomials of middle and contrast: constants, planes, or of second degree."""
    percentiles: tuple[Percentage, Percentage] = (2.0, 98.0)
    """Percentages of the pixels below the dark and below the bright level."""
    smoothing: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Standard deviation, pixels, of the Gaussian average that levels are fitted to, because noise widens the
    distribution of gray levels. The image itself is not smoothed."""
    limits: tuple[float, float] | None = None
    """Gray levels of the components -1 and +1, if they are known; `background` and `percentiles` are not used then."""
    inverted: bool = False
    """Whether dark pixels have the component +1."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for key in ("percentiles", "limits"):
            pair = getattr(self, key)
            if pair is not None and pair[0] >= pair[1]:
                raise InputError(key, f"{list(pair)} is not in ascending order", "give the dark level first")
        return self

    def component(self, gray_NYX: Floats, known_NYX: Bools, where: str = "image") -> npt.NDArray[np.float32]:
        """Return the component of the spins in images, each with levels of its own.

        Args:
            gray_NYX: gray levels, (N, Y, X).
            known_NYX: False where a pixel is unknown; the component is 0 there.
            where: name of the images in error messages.

        Returns:
            (N, Y, X), float32, from -1 to 1.

        Raises:
            InputError: an image has no known pixels or no contrast, or it is not of two phases.
        """
        return self.spins(gray_NYX[..., None], known_NYX, where)[..., 0]

    def means(self, gray_YX: Floats, known_YX: Bools, where: str = "image") -> tuple[float, float]:
        """Return the gray levels of the components -1 and +1 in an image, averaged over it.

        Args:
            gray_YX: gray levels, (Y, X).
            known_YX: False where a pixel is unknown.
            where: name of the image in error messages.

        Raises:
            InputError: as for `component`.
        """
        phases = self._levels(gray_YX, known_YX, where)
        terms = _terms(_GRID[:, None], _GRID[None], phases.degree)
        dark, bright = (float(np.tensordot(some, terms, 1).mean()) for some in (phases.dark, phases.bright))
        return (bright, dark) if self.inverted else (dark, bright)

    def spins(self, gray_NYXC: Floats, known_NYX: Bools, where: str = "image") -> npt.NDArray[np.float32]:
        """Return spins from images of one component (S_z) or of three, taken under equal conditions.

        The levels of S_z are those of `component`. S_x and S_y have the contrast of S_z, and are 0 at their median
        unless the limits are known.

        Args:
            gray_NYXC: gray levels, (N, Y, X, 1) or (N, Y, X, 3).
            known_NYX: False where a pixel is unknown; the spins are 0 there.
            where: name of the images in error messages.

        Returns:
            spins of the shape of the gray levels, float32. S_z is from -1 to 1; the spins are not normalized.

        Raises:
            InputError: as for `component`.
        """
        return np.stack([self._vector(gray, known, where) for gray, known in zip(gray_NYXC, known_NYX)])

    def _vector(self, gray_YXC: Floats, known_YX: Bools, where: str) -> npt.NDArray[np.float32]:
        phases = self._levels(gray_YXC[..., -1], known_YX, where)
        up_YX = np.clip(self._scaled(gray_YXC[..., -1], known_YX, phases), -1, 1)
        # S_x and S_y may not have two phases, from which their middle could be found.
        plane = [self._scaled(gray_YX, known_YX, phases) for gray_YX in np.moveaxis(gray_YXC[..., :-1], -1, 0)]
        if self.limits is None:
            plane = [np.where(known_YX, values_YX - np.median(values_YX[known_YX]), 0) for values_YX in plane]
        return np.stack([*plane, up_YX], axis=-1).astype(np.float32, copy=False)

    def _scaled(self, gray_YX: Floats, known_YX: Bools, phases: _Phases) -> npt.NDArray[np.float32]:
        """Return the component for given levels, not clipped; 0 where it is unknown."""
        component_YX = phases.component(gray_YX)
        if self.inverted:
            component_YX *= -1
        component_YX[~known_YX] = 0
        return component_YX

    def _levels(self, gray_YX: Floats, known_YX: Bools, where: str) -> _Phases:
        if self.limits is not None:
            dark, bright = self.limits
            return _Phases(np.array([dark]), np.array([bright]))
        values, places = _samples(gray_YX, known_YX, self.smoothing)
        if not values.size:
            raise InputError(where, "has no known pixels", "give an image with values")
        low, high = np.percentile(values, self.percentiles)
        if high - low <= 1e-6 * max(abs(low), abs(high)):
            remedy = "give an image with contrast, or percentiles nearer to 0 and 100"
            raise InputError(where, f"has the same gray level, {low:g}, almost everywhere", remedy)
        degree = _DEGREES[self.background]
        if degree == 0:
            return _Phases(np.array([low]), np.array([high]))
        positions = [_positions(side) for side in gray_YX.shape]
        sampled = _terms(positions[0][places[0]], positions[1][places[1]], degree)
        middle, contrast = _two_phases(sampled, values)
        everywhere = np.tensordot(contrast, _terms(_GRID[:, None], _GRID[None], degree), 1)
        mean = everywhere.mean()
        if mean < _FAINTEST * values.std() or everywhere.min() < _WEAKEST * mean:
            problem = "is not of two phases, dark and bright, whose gray levels vary smoothly"
            raise InputError(where, problem, 'use background = "none" or "plane", or give limits')
        low, high = np.percentile((values - middle @ sampled) / (contrast @ sampled), self.percentiles)
        return _Phases(middle + low * contrast, middle + high * contrast, degree)


@dataclass(frozen=True)
class _Phases:
    """The dark and the bright level of each pixel, as polynomials of its position.

    Attributes:
        dark: coefficients of the dark level, in the order of `_terms`.
        bright: likewise.
        degree: degree of the polynomials.
    """

    dark: Floats
    bright: Floats
    degree: int = 0

    def component(self, gray_YX: Floats) -> npt.NDArray[np.float32]:
        """Return -1 where a pixel has the dark level, +1 where it has the bright one, linear between and beyond."""
        component_YX = np.empty(gray_YX.shape, np.float32)
        y, x = (_positions(side) for side in gray_YX.shape)
        # In strips, because the terms need much more memory than the image.
        for start in range(0, len(y), _BLOCK):
            rows = slice(start, start + _BLOCK)
            terms = _terms(y[rows, None], x[None], self.degree)
            dark, bright = (np.tensordot(some, terms, 1) for some in (self.dark, self.bright))
            component_YX[rows] = 2 * (gray_YX[rows] - dark) / (bright - dark) - 1
        return component_YX


def _samples(gray_YX: Floats, known_YX: Bools, sigma: float) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return smoothed gray levels of known pixels all over an image, (n,), and their rows and columns, (2, n)."""
    corners = [(row, column) for row in range(0, len(gray_YX), _BLOCK) for column in range(0, gray_YX.shape[1], _BLOCK)]
    found, places = [np.empty(0)], [np.empty((2, 0), np.intp)]
    # A regular choice of blocks may lie on a line, and one of pixels may match the period of the image.
    generator = np.random.default_rng(0)
    for number in np.sort(generator.permutation(len(corners))[:_BLOCKS]):
        row, column = corners[number]
        block = slice(row, row + _BLOCK), slice(column, column + _BLOCK)
        inside = np.stack(np.nonzero(known_YX[block]))
        found.append(_smoothed(gray_YX[block], known_YX[block], sigma)[tuple(inside)])
        places.append(inside + np.array([[row], [column]]))
    values, where = np.concatenate(found), np.concatenate(places, axis=1)
    chosen = generator.permutation(len(values))[:_MOST_PIXELS]
    return values[chosen], where[:, chosen]


def _smoothed(gray_YX: Floats, known_YX: Bools, sigma: float) -> Floats:
    """Return the Gaussian average of the known pixels around each pixel; the image is mirrored at its edges."""
    if sigma == 0:
        return gray_YX
    width = [(min(side, int(4 * sigma) + 1),) * 2 for side in gray_YX.shape]
    inside = tuple(slice(before, before + side) for (before, _), side in zip(width, gray_YX.shape))
    sums, weights = (
        smoothed(np.pad(values, width, mode="symmetric"), sigma)[inside]
        for values in (np.where(known_YX, gray_YX, 0).astype(np.float64), known_YX.astype(np.float64))
    )
    return sums / np.maximum(weights, 1e-9)


def _positions(pixels: int) -> Floats:
    """Return the centers of pixels on an axis from -1 to 1."""
    return (2 * np.arange(pixels) + 1) / pixels - 1


def _terms(y: Floats, x: Floats, degree: int) -> Floats:
    """Return the monomials of two coordinates up to a degree, in the order of their degrees, along the first axis."""
    powers = [(power - i, i) for power in range(degree + 1) for i in range(power + 1)]
    return np.stack([y**i * x**j for i, j in powers])


def _two_phases(terms: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return coefficients of the middle between a dark and a bright phase, and of half their difference.

    Args:
        terms: functions of the position at each pixel, constant first, (terms, pixels).
        values: gray levels, (pixels,).
    """
    fits = (_fit_from(float(np.percentile(values, share)), terms, values) for share in _STARTS)
    middle, contrast, _ = min(fits, key=lambda fit: fit[2])
    return middle, contrast


def _fit_from(middle_level: float, terms: Floats, values: Floats) -> tuple[Floats, Floats, float]:
    """Return the middle, half the difference, and the mean distance of the pixels from their phase.

    In turn, the pixels above the middle become the bright phase, and both phases are fitted (Lloyd's algorithm with
    polynomials in place of means), first by constants and then with more terms. The sum of distances is minimized, by
    reweighted squares, because the walls between the phases belong to neither.
    """
    spread = values.std()
    middle = np.array([middle_level])
    for count in (count for count in (1, 3, 6) if count <= len(terms)):
        some = terms[:count]
        middle = np.pad(middle, (0, count - len(middle)))
        weights = np.ones(len(values))
        # Where a region has one phase, its pixels don't tell how the contrast changes.
        penalty = np.diag([0.0] * (count + 1) + [_STIFFNESS] * (count - 1))
        for _ in range(_STEPS):
            before = middle
            both = np.concatenate([some, some * np.where(values > middle @ some, 1.0, -1.0)])
            weighted = both * (weights / weights.sum())
            found = np.linalg.lstsq(weighted @ both.T + penalty, weighted @ values, rcond=None)[0]
            middle, contrast = found[:count], found[count:]
            distances = np.abs(values - found @ both)
            weights = 1 / np.maximum(distances, _NEAREST * spread)
            if np.abs(middle - before).max() < 1e-3 * spread:
                break
    return middle, contrast, float(distances.mean())
