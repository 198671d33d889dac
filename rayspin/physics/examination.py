"""Length, energy and residual torque of stored spins, computed fast enough to check whole datasets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rayspin.physics._check_kernels import check_sample
from rayspin.physics.dipole import dipole_field
from rayspin.physics.field import require_known
from rayspin.physics.hamiltonian import Hamiltonian

_LOWEST_DIPOLE, _HIGHEST_DIPOLE = -2.549437, 4.516811
"""Half the lowest and half the highest eigenvalue of the dipole tensor on the infinite square lattice, for a dipole
term of strength 1, rounded away from zero."""

# Terms that the kernel and the bounds implement.
_TERMS = frozenset({"exchange", "dmi", "dipole", "anisotropy", "external_field"})

_NO_FIELD = np.empty((0, 0, 3))


@dataclass(frozen=True)
class Examination:
    """Results for N samples, arrays (N,) of float64.

    Attributes:
        length_error: largest ||S| - 1|.
        energy: energy per site, J.
        torque: largest |S x F|, J.
    """

    length_error: npt.NDArray[np.float64]
    energy: npt.NDArray[np.float64]
    torque: npt.NDArray[np.float64]


def examine(spins_NYXC: npt.NDArray[np.float32], hamiltonian: Hamiltonian) -> Examination:
    """Compute the length, energy and torque of samples.

    Args:
        spins_NYXC: (N, rows, columns, 3); the length error of a sample with NaN or infinity is infinite.
        hamiltonian: the Hamiltonian of all samples.

    Raises:
        InputError: the Hamiltonian has a term that is not implemented.
    """
    require_known(hamiltonian, _TERMS, "the examination of stored spins")
    values = np.empty((len(spins_NYXC), 3))
    for row, spins in zip(values, spins_NYXC):
        beside = _NO_FIELD
        if hamiltonian.dipole:
            beside = np.ascontiguousarray(hamiltonian.dipole * dipole_field(spins.astype(np.float64)))
        row[:] = check_sample(
            np.ascontiguousarray(spins),
            beside,
            hamiltonian.exchange,
            hamiltonian.dmi,
            hamiltonian.dmi_kind == "bulk",
            hamiltonian.anisotropy,
            hamiltonian.unit_axis,
            np.array(hamiltonian.external_field),
            1.0 if hamiltonian.boundary == "periodic" else 0.0,
        )
    return Examination(*values.T)


def energy_bounds(hamiltonian: Hamiltonian, length: float = 1.0) -> tuple[float, float]:
    """Return bounds of the energy per site of any spins, J: the sums of the minima and of the maxima of all terms.

    Exchange and DMI contribute at most sqrt(J^2 + D^2) per bond, and a site has two bonds; the dipole term lies between
    half the lowest and half the highest eigenvalue of its tensor. Float32 spins can be longer than 1 by rounding, which
    lowers the energy of ground states.

    Args:
        hamiltonian: the Hamiltonian.
        length: length of the longest spin, at least 1.

    Returns:
        lower and upper bound.
    """
    bonds = 2 * math.hypot(hamiltonian.exchange, hamiltonian.dmi)
    field = math.hypot(*hamiltonian.external_field)
    dipole = hamiltonian.dipole
    lowest = -bonds - field + _LOWEST_DIPOLE * dipole - max(hamiltonian.anisotropy, 0)
    highest = bonds + field + _HIGHEST_DIPOLE * dipole - min(hamiltonian.anisotropy, 0)
    # Quadratic terms scale with length^2. The external field's term scales with length, which is at most length^2.
    return lowest * length**2, highest * length**2
