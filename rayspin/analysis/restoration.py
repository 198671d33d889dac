"""Restoration of damaged spins by the recursive process (2021 paper, Figs. 3d, 3e and 4a)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from rayspin.analysis.trajectory import Row, Spins, Trajectory
from rayspin.metrics import correlation_coefficients
from rayspin.physics import Hamiltonian, energy
from rayspin.physics.corruption import defect_rows, defect_square, noisy, out_of_plane_only

Damage: TypeAlias = Literal["noise", "defect-rows", "defect-square", "out-of-plane"]
"""Damage of spins: noise at every site, random spins in the middle rows, no spins in a square, or S_z only."""


def damaged(
    clean_NYXC: Spins, damage: Damage, *, noise_amplitude: float, defect_width: int, seed: int, first: int
) -> Spins:
    """Return damaged spins, (N, Y, X, 3).

    Args:
        clean_NYXC: (N, Y, X, 3) spins.
        damage: the damage.
        noise_amplitude: amplitude alpha of the noise.
        defect_width: number of rows, or side of the square.
        seed: root seed; sample n uses the stream (seed, n).
        first: number of the first sample.
    """
    match damage:
        case "noise":
            return np.stack([noisy(spins, noise_amplitude, (seed, first + n)) for n, spins in enumerate(clean_NYXC)])
        case "defect-rows":
            return np.stack([defect_rows(spins, defect_width, (seed, first + n)) for n, spins in enumerate(clean_NYXC)])
        case "defect-square":
            return defect_square(clean_NYXC, defect_width)
        case "out-of-plane":
            return out_of_plane_only(clean_NYXC)


def restoration_rows(
    trajectory: Trajectory, estimator: str, damage: Damage, clean_NYXC: Spins, hamiltonian: Hamiltonian, first: int
) -> list[Row]:
    """Return one row for each sample and iteration of a trajectory from damaged spins, with the frames of all steps.

    In addition to the observables of the trajectory, a row has the energy of the clean spins ("annealed", J) and the
    correlation coefficient of each component with that of the clean spins.

    Args:
        trajectory: the trajectory, whose reference are the clean spins.
        estimator: name of the estimator.
        damage: the damage.
        clean_NYXC: (N, Y, X, 3) spins before the damage.
        hamiltonian: the Hamiltonian of the energies.
        first: number of the first sample.
    """
    annealed = energy(clean_NYXC, hamiltonian)
    coefficients = {step: correlation_coefficients(spins, clean_NYXC) for step, spins in trajectory.frames.items()}
    rows = trajectory.rows(estimator, first)
    for row in rows:
        n, step = int(row["sample"]) - first, int(row["step"])
        row["annealed"] = float(annealed[n])
        row |= {f"correlation_{name}": float(value) for name, value in zip("xyz", coefficients[step][n])}
    return [{"damage": damage, **row} for row in rows]
