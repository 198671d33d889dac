"""Effective field, energy and torque of spins, computed from the Hamiltonian.

Each energy term is a function of this module, registered in the table `TERMS`. To add a term, add its strength to
`Hamiltonian`, write a function for its field, and register the function under the name of the strength, with the degree
of the term in the spins. The energy follows from the field: E = - (1 / degree) sum_i S_i . F_i for a term that is
homogeneous in the spins. An example is a cubic anisotropy with the energy -cubic sum_i (S_x^4 + S_y^4 + S_z^4):

>>> import numpy as np
>>> from rayspin.physics import Hamiltonian, effective_field, energy
>>> class CubicMagnet(Hamiltonian):
...     cubic: float = 0.0
>>> def _cubic(spins, hamiltonian):
...     return 4 * hamiltonian.cubic * spins**3
>>> TERMS["cubic"] = Term(_cubic, degree=4)
>>> up = np.broadcast_to([0.0, 0.0, 1.0], (4, 4, 3))
>>> float(energy(up, CubicMagnet(exchange=0.0, cubic=0.5)))
-0.5
>>> effective_field(up, CubicMagnet(exchange=0.0, cubic=0.5))[0, 0].tolist()
[0.0, 0.0, 2.0]

Code with its own kernels, such as `Sampler`, lists the terms that it implements and rejects others (`require_known`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics._field_kernels import dmi_field, exchange_field
from rayspin.physics.arguments import spin_field
from rayspin.physics.dipole import dipole_field
from rayspin.physics.hamiltonian import Hamiltonian, HamiltonianLike

Array = npt.NDArray[np.floating]
Spins = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Term:
    """An energy term.

    Attributes:
        field: function of spins (rows, columns, 3) and the Hamiltonian that returns -dE/dS in the shape and dtype of
            the spins, J.
        degree: degree of the energy in the spins; 2 for pairs.
    """

    field: Callable[[Array, Hamiltonian], Array]
    degree: int


def effective_field(spins: npt.ArrayLike, hamiltonian: HamiltonianLike) -> Spins:
    """Return the effective field F_i = -dH/dS_i, in units of J.

    The derivative is taken with respect to all three components, not only those perpendicular to the spin, so F has a
    component along S.

    Args:
        spins: (rows, columns, 3), or (N, rows, columns, 3) for a batch; of any length.
        hamiltonian: a Hamiltonian, the name of a preset ("labyrinth" or "domain"), or a table of fields.

    Returns:
        the field in the shape of `spins`, float32.

    Raises:
        InputError: the spins have a wrong shape or are not finite, or the Hamiltonian is invalid.
    """
    hamiltonian = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    spins_NYXC = _batch(spins)
    fields, present = np.empty(spins_NYXC.shape, np.float32), _present(hamiltonian)
    for field, sample in zip(fields, spins_NYXC):
        field[:] = sum((TERMS[name].field(sample, hamiltonian) for name in present), np.zeros(3, sample.dtype))
    return fields.reshape(np.shape(spins))


def energy(spins: npt.ArrayLike, hamiltonian: HamiltonianLike) -> npt.NDArray[np.float64]:
    """Return the energy per site, in J, computed in float64; every pair is counted once.

    Args:
        spins: as in `effective_field`.
        hamiltonian: as in `effective_field`.

    Returns:
        a scalar array for (rows, columns, 3), (N,) for (N, rows, columns, 3).

    Raises:
        InputError: as in `effective_field`.
    """
    total: npt.NDArray[np.float64] = np.sum(list(energy_terms(spins, hamiltonian).values()), axis=0)
    return total


def energy_terms(spins: npt.ArrayLike, hamiltonian: HamiltonianLike) -> dict[str, npt.NDArray[np.float64]]:
    """Return the energy per site of each term, in J, by the name of its strength; the terms add up to `energy`.

    Args:
        spins: as in `effective_field`.
        hamiltonian: as in `effective_field`.

    Returns:
        arrays in the shape of `energy`.

    Raises:
        InputError: as in `effective_field`.
    """
    hamiltonian = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    spins_NYXC = _batch(spins)
    energies, present = {name: np.zeros(len(spins_NYXC)) for name in TERMS}, _present(hamiltonian)
    for n, narrow in enumerate(spins_NYXC):
        sample = narrow.astype(np.float64, copy=False)
        for name in present:
            field = TERMS[name].field(sample, hamiltonian)
            energies[name][n] = -np.sum(sample * field) / (TERMS[name].degree * sample[..., 0].size)
    shape = np.shape(spins)[:-3]
    return {name: values.reshape(shape) for name, values in energies.items()}


def torque(spins: npt.ArrayLike, hamiltonian: HamiltonianLike) -> Spins:
    """Return the torque S x F, in units of J, which is zero where a spin is in equilibrium.

    Args:
        spins: as in `effective_field`.
        hamiltonian: as in `effective_field`.

    Returns:
        the torque in the shape of `spins`, float32.

    Raises:
        InputError: as in `effective_field`.
    """
    field = effective_field(spins, hamiltonian)
    return np.cross(np.asarray(spins, np.float32), field)


def require_known(hamiltonian: Hamiltonian, known: Collection[str], who: str) -> None:
    """Check that code with its own kernels implements all terms of a Hamiltonian.

    Args:
        hamiltonian: the Hamiltonian.
        known: names of the terms that the code implements.
        who: what the code is, for the error message.

    Raises:
        InputError: the Hamiltonian has another term, which the code would ignore.
    """
    for name in _present(hamiltonian):
        if name not in known:
            raise InputError(name, f"{who} does not support this term", "set it to 0, or implement it there")


def _present(hamiltonian: Hamiltonian) -> list[str]:
    """Return the names of the terms whose strength is not zero."""
    return [name for name in TERMS if np.any(getattr(hamiltonian, name, 0))]


def _exchange(spins: Array, hamiltonian: Hamiltonian) -> Array:
    field: Array = exchange_field(_padded(spins, hamiltonian), spins.dtype.type(hamiltonian.exchange))
    return field


def _dmi(spins: Array, hamiltonian: Hamiltonian) -> Array:
    strength, is_bulk = spins.dtype.type(hamiltonian.dmi), hamiltonian.dmi_kind == "bulk"
    field: Array = dmi_field(_padded(spins, hamiltonian), strength, is_bulk)
    return field


def _dipole(spins: Array, hamiltonian: Hamiltonian) -> Array:
    return (hamiltonian.dipole * dipole_field(spins)).astype(spins.dtype)


def _anisotropy(spins: Array, hamiltonian: Hamiltonian) -> Array:
    axis = hamiltonian.unit_axis.astype(spins.dtype)
    # Not `spins @ axis`, because the order of additions in a linear algebra library depends on the CPU.
    along: Array = spins[..., 0] * axis[0] + spins[..., 1] * axis[1] + spins[..., 2] * axis[2]
    return spins.dtype.type(2 * hamiltonian.anisotropy) * along[..., None] * axis


def _external_field(spins: Array, hamiltonian: Hamiltonian) -> Array:
    return np.broadcast_to(np.array(hamiltonian.external_field, spins.dtype), spins.shape)


TERMS = {
    "exchange": Term(_exchange, degree=2),
    "dmi": Term(_dmi, degree=2),
    "dipole": Term(_dipole, degree=2),
    "anisotropy": Term(_anisotropy, degree=2),
    "external_field": Term(_external_field, degree=1),
}
"""The energy terms, by the name of their strength in `Hamiltonian`."""


def _padded(spins: Array, hamiltonian: Hamiltonian) -> Array:
    """Return the spins with one more site beyond each edge: from the opposite edge, or zero for an open boundary."""
    rows, columns, components = spins.shape
    padded = np.zeros((rows + 2, columns + 2, components), spins.dtype)
    padded[1:-1, 1:-1] = spins
    if hamiltonian.boundary == "periodic":
        padded[0, 1:-1], padded[-1, 1:-1] = spins[-1], spins[0]
        padded[1:-1, 0], padded[1:-1, -1] = spins[:, -1], spins[:, 0]
    return padded


def _batch(spins: npt.ArrayLike) -> Array:
    """Return spins as a batch (N, rows, columns, 3) of float32 or float64."""
    array = spin_field(spins)
    return array.reshape((-1, *array.shape[-3:]))
