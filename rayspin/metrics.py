"""Error measures of estimated spins or fields, as in the tables of both papers.

Every function takes an estimate and the truth, two arrays of the same shape (..., Y, X, 3), and returns one value for
each lattice, of shape (...). Sums are computed in float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics.arguments import vectors

Figures = npt.NDArray[np.float64]

PRINTED_PSNR_OFFSET = 10 * np.log10(4)
"""dB by which the PSNR in the tables of the 2023 paper exceeds the definition in its text: 6.02."""


def mse(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return the mean squared error over sites and components.

    The formula in the 2023 paper sums over components, but its tables contain means: for unit vectors
    3 MSE = 2 (1 - correlation), which the printed values 0.0016 and 0.9976 satisfy.

    Args:
        estimate_YXC: estimated vectors, (..., Y, X, 3).
        truth_YXC: true vectors, in the same shape.

    Raises:
        InputError: an argument is not such an array, or the shapes differ.
    """
    figures: Figures = mse_per_component(estimate_YXC, truth_YXC).mean(axis=-1)
    return figures


def mse_per_component(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return the mean squared error over sites, (..., 3).

    Args:
        estimate_YXC: as in `mse`.
        truth_YXC: as in `mse`.

    Raises:
        InputError: as in `mse`.
    """
    estimate, truth = _pair(estimate_YXC, truth_YXC)
    squares: Figures = np.square(estimate - truth).mean(axis=(-3, -2))
    return squares


def psnr(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return the peak signal-to-noise ratio 10 log10(MAX^2 / MSE), dB, with MAX = 2 because spins range from -1 to 1.

    The ratio is infinite if the estimate equals the truth.

    Args:
        estimate_YXC: as in `mse`.
        truth_YXC: as in `mse`.

    Raises:
        InputError: as in `mse`.
    """
    with np.errstate(divide="ignore"):
        decibels: Figures = 10 * np.log10(4 / mse(estimate_YXC, truth_YXC))
    return decibels


def psnr_as_printed(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return the PSNR as in the tables of the 2023 paper, 10 log10(16 / MSE), dB. Use it only to compare with them.

    Args:
        estimate_YXC: as in `mse`.
        truth_YXC: as in `mse`.

    Raises:
        InputError: as in `mse`.
    """
    decibels: Figures = psnr(estimate_YXC, truth_YXC) + PRINTED_PSNR_OFFSET
    return decibels


def correlation(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return the mean of S . S' over sites (Corr of the 2023 paper), which is 1 for two equal fields of unit spins.

    It is not a correlation coefficient: means are not subtracted, and the lengths of the vectors matter.

    Args:
        estimate_YXC: as in `mse`.
        truth_YXC: as in `mse`.

    Raises:
        InputError: as in `mse`.
    """
    estimate, truth = _pair(estimate_YXC, truth_YXC)
    figures: Figures = (estimate * truth).sum(axis=-1).mean(axis=(-2, -1))
    return figures


def correlation_coefficient(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return the correlation coefficient over sites and components; 0 if one of the two is constant.

    Args:
        estimate_YXC: as in `mse`.
        truth_YXC: as in `mse`.

    Raises:
        InputError: as in `mse`.
    """
    return _coefficient(*_pair(estimate_YXC, truth_YXC), (-3, -2, -1))


def correlation_coefficients(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return the correlation coefficient of each component over sites, (..., 3); 0 if one of the two is constant.

    Args:
        estimate_YXC: as in `mse`.
        truth_YXC: as in `mse`.

    Raises:
        InputError: as in `mse`.
    """
    return _coefficient(*_pair(estimate_YXC, truth_YXC), (-3, -2))


def _coefficient(estimate: Figures, truth: Figures, axes: tuple[int, ...]) -> Figures:
    a, b = (values - values.mean(axis=axes, keepdims=True) for values in (estimate, truth))
    lengths = np.sqrt((a * a).sum(axis=axes) * (b * b).sum(axis=axes))
    figures: Figures = np.divide((a * b).sum(axis=axes), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return figures


def angle_error(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return the mean angle between S and S' over sites, in radians, independent of their lengths.

    The angle between a zero vector, which has no direction, and a nonzero vector counts as pi / 2.

    Args:
        estimate_YXC: as in `mse`.
        truth_YXC: as in `mse`.

    Raises:
        InputError: as in `mse`.
    """
    a, b = _pair(estimate_YXC, truth_YXC)
    # Not the arc cosine, which is inaccurate for small angles.
    angles = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1))
    angles[a.any(axis=-1) != b.any(axis=-1)] = np.pi / 2
    figures: Figures = angles.mean(axis=(-2, -1))
    return figures


def _pair(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> tuple[Figures, Figures]:
    """Check both arrays and convert them to float64."""
    estimate, truth = vectors("estimate", estimate_YXC), vectors("truth", truth_YXC)
    if estimate.shape != truth.shape:
        problem = f"has shape {estimate.shape}, but the truth has {truth.shape}"
        raise InputError("estimate", problem, "give arrays of the same shape")
    return estimate.astype(np.float64), truth.astype(np.float64)
