"""How near an estimate is to the truth: the figures of both papers' tables, each with its definition.

All functions take spins (or fields) of shape (..., Y, X, 3) in the same shape twice and return one figure
for each lattice, of shape (...); sums run in float64. Anything else is refused by an InputError.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics.arguments import vectors

Figures = npt.NDArray[np.float64]

PRINTED_PSNR_OFFSET = 10 * np.log10(4)
"""dB by which the PSNR in the tables of the 2023 paper lies above the definition in its text, 6.02."""


def mse(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Mean squared error over sites and components, of shape (...).

    The formula printed in the 2023 paper sums over components; its tables are means: for unit vectors
    3 MSE = 2 (1 - correlation), which the printed 0.0016 and 0.9976 obey.
    """
    figures: Figures = mse_per_component(estimate_YXC, truth_YXC).mean(axis=-1)
    return figures


def mse_per_component(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Mean squared error over sites, of shape (..., 3)."""
    estimate, truth = _pair(estimate_YXC, truth_YXC)
    squares: Figures = np.square(estimate - truth).mean(axis=(-3, -2))
    return squares


def psnr(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Peak signal-to-noise ratio 10 log10(MAX^2 / MSE), dB, with MAX = 2, as spins run from -1 to 1.

    Infinite where both agree to the last bit.
    """
    with np.errstate(divide="ignore"):
        decibels: Figures = 10 * np.log10(4 / mse(estimate_YXC, truth_YXC))
    return decibels


def psnr_as_printed(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """PSNR as in the tables of the 2023 paper, 10 log10(16 / MSE), dB: for comparison with them only."""
    decibels: Figures = psnr(estimate_YXC, truth_YXC) + PRINTED_PSNR_OFFSET
    return decibels


def correlation(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Mean over sites of S . S' (Corr of the 2023 paper): 1 where two fields of unit spins agree.

    It is no correlation coefficient: no mean is subtracted, and lengths count.
    """
    estimate, truth = _pair(estimate_YXC, truth_YXC)
    figures: Figures = (estimate * truth).sum(axis=-1).mean(axis=(-2, -1))
    return figures


def angle_error(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Mean over sites of the angle between S and S', radians; lengths don't count.

    A vector of length zero has no direction: it counts as being at a right angle to one that has.
    """
    a, b = _pair(estimate_YXC, truth_YXC)
    # The arc cosine would lose small angles to rounding.
    angles = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1))
    angles[a.any(axis=-1) != b.any(axis=-1)] = np.pi / 2
    figures: Figures = angles.mean(axis=(-2, -1))
    return figures


def _pair(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> tuple[Figures, Figures]:
    """Both in float64, after checks."""
    estimate, truth = vectors("estimate", estimate_YXC), vectors("truth", truth_YXC)
    if estimate.shape != truth.shape:
        raise InputError("estimate", f"has shape {estimate.shape}, the truth {truth.shape}", "give both the same")
    return estimate.astype(np.float64), truth.astype(np.float64)
