"""What stored spins say of themselves: length, energy and residual torque, fast enough to read whole datasets."""

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
"""Half the ends of the spectrum of the dipole tensor on the infinite square lattice, in units of its strength; rounded
away from zero."""

# What the kernel and the bounds know.
_TERMS = frozenset({"exchange", "dmi", "dipole", "anisotropy", "external_field"})

_NO_FIELD = np.empty((0, 0, 3))


@dataclass(frozen=True)
class Examination:
    """Of N samples, each array (N,), float64.

    Attributes:
        length_error: largest ||S| - 1|.
        energy: per site, J.
        torque: largest |S x F|, J.
    """

    length_error: npt.NDArray[np.float64]
    energy: npt.NDArray[np.float64]
    torque: npt.NDArray[np.float64]


def examine(spins_NYXC: npt.NDArray[np.float32], hamiltonian: Hamiltonian) -> Examination:
    """Length, energy and torque of samples (N, rows, columns, 3); spins that are not finite come out infinite."""
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
    """Energies per site, J, that no spins up to this length leave: each term alone at its least and at its most.

    A bond of exchange and DMI has at most sqrt(J^2 + D^2), and a site two bonds; the dipole term lies between half the
    ends of its spectrum. Spins in float32 are longer than 1 by their rounding, and then so are ground states lower.

    Args:
        hamiltonian: the energy.
        length: of the longest spin, at least 1.
    """
    bonds = 2 * math.hypot(hamiltonian.exchange, hamiltonian.dmi)
    field = math.hypot(*hamiltonian.external_field)
    dipole = hamiltonian.dipole
    lowest = -bonds - field + _LOWEST_DIPOLE * dipole - max(hamiltonian.anisotropy, 0)
    highest = bonds + field + _HIGHEST_DIPOLE * dipole - min(hamiltonian.anisotropy, 0)
    # Pairs grow with the square of the length, the external field's term with the length.
    return lowest * length**2, highest * length**2
