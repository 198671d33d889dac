"""Effective field, energy and torque of spin fields, straight from the Hamiltonian.

Each energy term is one function of this module, entered in the table `TERMS`. To add one, give `Hamiltonian` its
strength, write its field and enter it under the strength's name with its degree in the spins: energies follow, since
E = - (1 / degree) sum_i S_i . F_i for a term that is homogeneous in the spins. A cubic anisotropy, the energy
-cubic sum_i (S_x^4 + S_y^4 + S_z^4), say:

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

What works by kernels of its own, like `Sampler`, names the terms that these know and refuses others (`require_known`).
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
        field: of spins (L, L, 3) and the Hamiltonian, -dE/dS in that shape and dtype, in J.
        degree: in the spins; 2 for pairs.
    """

    field: Callable[[Array, Hamiltonian], Array]
    degree: int


def effective_field(spins: npt.ArrayLike, hamiltonian: HamiltonianLike) -> Spins:
    """F_i = -dH/dS_i, in units of J.

    It is the derivative with respect to all three components, not only those across the spin: F has a part
    along S.

    Args:
        spins: (L, L, 3) or, as a batch, (N, L, L, 3), components last; need not be of unit length.
        hamiltonian: what to differentiate; or the name of a preset, "labyrinth" or "domain".

    Returns:
        The field in the shape of `spins`, float32.

    Raises:
        InputError: spins of a wrong shape or not finite, or no Hamiltonian.
    """
    hamiltonian = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    spins_NYXC = _batch(spins)
    fields, present = np.empty(spins_NYXC.shape, np.float32), _present(hamiltonian)
    for field, sample in zip(fields, spins_NYXC):
        field[:] = sum((TERMS[name].field(sample, hamiltonian) for name in present), np.zeros(3, sample.dtype))
    return fields.reshape(np.shape(spins))


def energy(spins: npt.ArrayLike, hamiltonian: HamiltonianLike) -> npt.NDArray[np.float64]:
    """Energy per site, in J, computed in float64; arguments as in `effective_field`.

    Returns:
        A scalar array for (L, L, 3), (N,) for (N, L, L, 3).
    """
    total: npt.NDArray[np.float64] = np.sum(list(energy_terms(spins, hamiltonian).values()), axis=0)
    return total


def energy_terms(spins: npt.ArrayLike, hamiltonian: HamiltonianLike) -> dict[str, npt.NDArray[np.float64]]:
    """Energy per site of each term, in J, by the name of its strength; they add up to `energy`.

    Arguments and shapes as in `energy`.
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
    """S x F, in units of J: zero where a spin is in equilibrium. Shapes as in `effective_field`."""
    field = effective_field(spins, hamiltonian)
    return np.cross(np.asarray(spins, np.float32), field)


def require_known(hamiltonian: Hamiltonian, known: Collection[str], who: str) -> None:
    """Refuses a Hamiltonian with a term that is not among the `known`, on behalf of `who`, who would ignore it."""
    for name in _present(hamiltonian):
        if name not in known:
            raise InputError(name, f"{who} does not know this term", "set it to 0, or teach it there")


def _present(hamiltonian: Hamiltonian) -> list[str]:
    """Names of the terms whose strength is not zero."""
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
    # Not `spins @ axis`: the order in which a linear algebra library adds depends on the CPU.
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


def _padded(spins: Array, hamiltonian: Hamiltonian) -> Array:
    """The spins with what is beyond each edge beside them: those of the other edge, or zeros where it is open."""
    rows, columns, components = spins.shape
    padded = np.zeros((rows + 2, columns + 2, components), spins.dtype)
    padded[1:-1, 1:-1] = spins
    if hamiltonian.boundary == "periodic":
        padded[0, 1:-1], padded[-1, 1:-1] = spins[-1], spins[0]
        padded[1:-1, 0], padded[1:-1, -1] = spins[:, -1], spins[:, 0]
    return padded


def _batch(spins: npt.ArrayLike) -> Array:
    """The spins as a batch (N, L, L, 3) of float32 or float64, after checks."""
    array = spin_field(spins)
    return array.reshape((-1, *array.shape[-3:]))
