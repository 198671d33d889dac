"""How near an estimate is to the truth: the figures of both papers' tables, each with its definition.

All functions take spins (or fields) of shape (..., Y, X, 3) in the same shape twice and return one figure
for each lattice, of shape (...); sums run in float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Figures = npt.NDArray[np.float64]

PRINTED_PSNR_OFFSET = 10 * np.log10(4)
"""dB by which the PSNR in the tables of the 2023 paper lies above the definition in its text, 6.02."""


def mse(estimate_YXC: Floats, truth_YXC: Floats) -> Figures:
    """Mean squared error over sites and components, of shape (...).

    The formula printed in the 2023 paper sums over components; its tables are means: for unit vectors
    3 MSE = 2 (1 - correlation), which the printed 0.0016 and 0.9976 obey.
    """
    figures: Figures = mse_per_component(estimate_YXC, truth_YXC).mean(axis=-1)
    return figures


def mse_per_component(estimate_YXC: Floats, truth_YXC: Floats) -> Figures:
    """Mean squared error over sites, of shape (..., 3)."""
    difference = np.subtract(estimate_YXC, truth_YXC, dtype=np.float64)
    squares: Figures = np.square(difference).mean(axis=(-3, -2))
    return squares


def psnr(estimate_YXC: Floats, truth_YXC: Floats) -> Figures:
    """Peak signal-to-noise ratio 10 log10(MAX^2 / MSE), dB, with MAX = 2, as spins run from -1 to 1."""
    with np.errstate(divide="ignore"):
        decibels: Figures = 10 * np.log10(4 / mse(estimate_YXC, truth_YXC))
    return decibels


def psnr_as_printed(estimate_YXC: Floats, truth_YXC: Floats) -> Figures:
    """PSNR as in the tables of the 2023 paper, 10 log10(16 / MSE), dB: for comparison with them only."""
    decibels: Figures = psnr(estimate_YXC, truth_YXC) + PRINTED_PSNR_OFFSET
    return decibels


def correlation(estimate_YXC: Floats, truth_YXC: Floats) -> Figures:
    """Mean over sites of S . S' (Corr of the 2023 paper): 1 where two fields of unit spins agree.

    It is no correlation coefficient: no mean is subtracted, and lengths count.
    """
    products = np.multiply(estimate_YXC, truth_YXC, dtype=np.float64)
    figures: Figures = products.sum(axis=-1).mean(axis=(-2, -1))
    return figures


def angle_error(estimate_YXC: Floats, truth_YXC: Floats) -> Figures:
    """Mean over sites of the angle between S and S', radians; lengths don't count."""
    a, b = np.asarray(estimate_YXC, np.float64), np.asarray(truth_YXC, np.float64)
    # The arc cosine would lose small angles to rounding.
    angles = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1))
    figures: Figures = angles.mean(axis=(-2, -1))
    return figures
