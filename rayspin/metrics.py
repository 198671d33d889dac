"""Error measures of estimated spins or fields, as in the tables of both papers, and physical ones.

Every function returns one value for each lattice, of shape (...), for an estimate (..., Y, X, 3); most compare it with
the truth, an array of the same shape. Sums are computed in float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics import Degradation, energy, torque
from rayspin.physics.arguments import vectors
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.physics.observables import topological_charge
from rayspin.physics.walls import wall_distances, wall_segments

Figures = npt.NDArray[np.float64]

PRINTED_PSNR_OFFSET = 10 * np.log10(4)
"""dB by which the PSNR in the tables of the 2023 paper exceeds the definition in its text (6.02 dB)."""


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


def wall_position_error(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return the mean distance between the walls of the estimate and of the truth, in sites.

    A wall is the line S_z = 0, interpolated linearly between sites (`rayspin.physics.walls`). The distance to the
    nearest wall of the other field is averaged along the true walls and along the estimated ones, and the error is the
    mean of both averages, so that walls that are missing and walls that should not exist count alike. For two parallel
    walls it is the distance between them. The error is 0 if neither field has walls; if only one has, it is the largest
    distance on the periodic lattice, half of its diagonal.

    Args:
        estimate_YXC: as in `mse`.
        truth_YXC: as in `mse`.

    Raises:
        InputError: as in `mse`.
    """
    estimate, truth = _pair(estimate_YXC, truth_YXC)
    shape = truth.shape[-3:]
    pairs = zip(estimate.reshape(-1, *shape), truth.reshape(-1, *shape))
    return np.array([_wall_distance(*pair) for pair in pairs]).reshape(truth.shape[:-3])


def _wall_distance(estimate_YXC: Figures, truth_YXC: Figures) -> float:
    walls, shape = [wall_segments(spins) for spins in (estimate_YXC, truth_YXC)], (len(truth_YXC), truth_YXC.shape[1])
    lengths = [np.linalg.norm(segments[:, 1] - segments[:, 0], axis=-1) for segments in walls]
    if not all(length.sum() > 0 for length in lengths):
        return 0.0 if len(walls[0]) == len(walls[1]) == 0 else float(np.hypot(*shape) / 2)
    there, back = wall_distances(walls[0], walls[1], shape), wall_distances(walls[1], walls[0], shape)
    return float((np.average(there, weights=lengths[0]) + np.average(back, weights=lengths[1])) / 2)


def charge_error(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> Figures:
    """Return |Q' - Q|, the error of the topological charge; spins of the estimate may have any length.

    Args:
        estimate_YXC: as in `mse`.
        truth_YXC: as in `mse`.

    Raises:
        InputError: as in `mse`.
    """
    estimate, truth = _pair(estimate_YXC, truth_YXC)
    figures: Figures = np.abs(
        topological_charge(estimate, any_length=True) - topological_charge(truth, any_length=True)
    )
    return figures


def energy_error(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike, hamiltonian: HamiltonianLike) -> Figures:
    """Return E' - E per site under the Hamiltonian of the truth, J. It is positive if the estimate is less relaxed.

    Args:
        estimate_YXC: estimated unit spins, (..., Y, X, 3).
        truth_YXC: true spins, in the same shape.
        hamiltonian: the Hamiltonian.

    Raises:
        InputError: as in `mse`, or the Hamiltonian doesn't fit the lattice.
    """
    estimate, truth = _pair(estimate_YXC, truth_YXC)
    figures: Figures = energy(estimate, hamiltonian) - energy(truth, hamiltonian)
    return figures


def torque_rms(spins_YXC: npt.ArrayLike, hamiltonian: HamiltonianLike) -> Figures:
    """Return the root mean square of |S x F| over sites, J, which is 0 in equilibrium.

    Args:
        spins_YXC: unit spins, (..., Y, X, 3).
        hamiltonian: the Hamiltonian.

    Raises:
        InputError: the spins are invalid, or the Hamiltonian doesn't fit the lattice.
    """
    squares = np.square(torque(spins_YXC, hamiltonian).astype(np.float64)).sum(axis=-1)
    figures: Figures = np.sqrt(squares.mean(axis=(-2, -1)))
    return figures


def inconsistency(estimate_YXC: npt.ArrayLike, coarse_YXC: npt.ArrayLike, degradation: Degradation) -> Figures:
    """Return the mean of (D S - c)^2 over coarse pixels and components: how far an estimate is from its coarse input.

    Args:
        estimate_YXC: estimated fine spins S, (..., scale Y, scale X, 3).
        coarse_YXC: coarse spins c, (..., Y, X, 3).
        degradation: the degradation D.

    Raises:
        InputError: an argument is invalid, or the estimate is not a whole number of times as large as the coarse spins.
    """
    estimate, coarse = vectors("estimate", estimate_YXC), vectors("coarse", coarse_YXC)
    scale = estimate.shape[-2] // coarse.shape[-2]
    if estimate.shape != (*coarse.shape[:-3], scale * coarse.shape[-3], scale * coarse.shape[-2], 3) or not scale:
        problem = f"has shape {estimate.shape}, which is no multiple of the coarse {coarse.shape}"
        raise InputError("estimate", problem, "give fine spins of the same number and proportions")
    return mse(degradation.apply(estimate, scale), coarse)


def _pair(estimate_YXC: npt.ArrayLike, truth_YXC: npt.ArrayLike) -> tuple[Figures, Figures]:
    """Check both arrays and convert them to float64."""
    estimate, truth = vectors("estimate", estimate_YXC), vectors("truth", truth_YXC)
    if estimate.shape != truth.shape:
        problem = f"has shape {estimate.shape}, but the truth has {truth.shape}"
        raise InputError("estimate", problem, "give arrays of the same shape")
    return estimate.astype(np.float64), truth.astype(np.float64)
