"""Errors of fields and of fine spins that are estimated from pictures of a microscope."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.imaging.inputs import normalized
from rayspin.metrics import angle_error, mse, mse_per_component

Spins = npt.NDArray[np.float32]
Figures = dict[str, float]


def field_errors(estimate_YXC: Spins, truth_YXC: Spins) -> Figures:
    """Return the errors of a field.

    Args:
        estimate_YXC: estimated field, J, (Y, X, 3).
        truth_YXC: true field, J, (Y, X, 3).

    Returns:
        "mse", the mean squared error of a component, J^2; "mse_x", "mse_y" and "mse_z"; "mse_relative", the mean
        squared error relative to the mean square of the true field; and "angle", the mean, degrees.
    """
    x, y, z = map(float, mse_per_component(estimate_YXC, truth_YXC))
    error = float(mse(estimate_YXC, truth_YXC))
    relative = error / float(np.square(truth_YXC, dtype=np.float64).mean())
    angle = float(np.degrees(angle_error(estimate_YXC, truth_YXC)))
    return {"mse": error, "mse_x": x, "mse_y": y, "mse_z": z, "mse_relative": relative, "angle": angle}


def isotropic_estimate(spins_YXC: Spins, field_YXC: Spins) -> Spins:
    """Return the field c S with the c that fits a field best.

    Args:
        spins_YXC: the spins; 0 in components that were not measured.
        field_YXC: the field, J.
    """
    factor = np.vdot(spins_YXC, field_YXC) / np.vdot(spins_YXC, spins_YXC)
    estimate: Spins = np.float32(factor) * spins_YXC
    return estimate


def spin_errors(estimate_YXC: Spins, truth_YXC: Spins) -> Figures:
    """Return the errors of fine spins.

    Args:
        estimate_YXC: estimated spins as the method gives them, (Y, X, 3), or (Y, X, 1) for S_z alone.
        truth_YXC: true spins, (Y, X, 3).

    Returns:
        "mse_z", the mean squared error of S_z, and "mse", that of a component of the spins normalized to length 1; NaN
        for S_z alone.
    """
    up, true_up = estimate_YXC[..., -1].astype(np.float64), truth_YXC[..., -1].astype(np.float64)
    figures = {"mse_z": float(np.square(up - true_up).mean()), "mse": float("nan")}
    if estimate_YXC.shape[-1] == 3:
        figures["mse"] = float(mse(normalized(estimate_YXC), truth_YXC))
    return figures
