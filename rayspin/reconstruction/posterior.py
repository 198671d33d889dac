"""Reconstruction as the maximum of the posterior (MAP) under a known Hamiltonian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pydantic

from rayspin.arrays import channel_first, channel_last
from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics import Hamiltonian, effective_field
from rayspin.physics.field import require_known
from rayspin.reconstruction.descent import minimize
from rayspin.reconstruction.problem import Maps, Method, Operator, Problem, unit
from rayspin.reconstruction.projections import LINEAR, Projections

_STARTS: Mapping[str, type[Method]] = {**LINEAR, "projections": Projections}

# Terms that are at most quadratic in the spins.
_QUADRATIC = {"exchange", "dmi", "dipole", "anisotropy", "external_field"}

# Added to k^2 in the preconditioner, in units of the largest coupling: the stiffness of uniform rotations, about the
# smallest that the energy has in labyrinths and domains.
_FLOOR = 0.2


class MAP(Config):
    """Minimizes E(S) + weight / 2 |D S - c|^2 over unit spins S, for the energy E in J and coarse spins c.

    It finds the local minimum of the energy that is nearest to the coarse spins, and is meant for fields that were
    quenched to such a minimum. The result has the accuracy of the Hamiltonian.
    """

    weight: float = pydantic.Field(100.0, gt=0)
    """Strength of the coarse data, in units of the largest coupling: 100 to 1000 for data without noise; for noise of
    variance v in every component, up to the order of 1 / v."""
    start: Literal["fourier", "wiener", "wiener-em", "projections"] = "fourier"
    """Method whose result the descent starts from, unless `reconstruct` is given a start. Labyrinths at scale 16 need
    "wiener-em" and a weight of about 20."""
    iterations: int = pydantic.Field(200, ge=0)
    """Maximum number of iterations for each field."""
    tolerance: float = pydantic.Field(1e-4, gt=0)
    """The descent ends when no tangential gradient exceeds this, in units of the largest coupling."""

    def solve(self, problem: Problem) -> Maps:
        """Return the spins of least energy and misfit near the start, of unit length; see `Method`."""
        hamiltonian = _usable(problem.hamiltonian)
        start_NCYX = problem.start_NCYX
        if start_NCYX is None:
            start_NCYX = _STARTS[self.start]().solve(problem)
        coupling = hamiltonian.largest_coupling
        weight = self.weight * coupling
        precondition = Preconditioner(problem.operator, coupling, weight)
        spins_NCYX = unit(start_NCYX)
        for n, coarse_CYX in enumerate(problem.coarse_NCYX):
            objective = Posterior(hamiltonian, problem.operator, coarse_CYX, weight)
            tolerance = self.tolerance * coupling
            spins_NCYX[n] = minimize(objective, precondition, spins_NCYX[n], self.iterations, tolerance)
        return spins_NCYX


class Posterior:
    """E(S) + weight / 2 |D S - c|^2 of a field; an `Objective`.

    Args:
        hamiltonian: the Hamiltonian.
        operator: the degradation D.
        coarse_CYX: coarse spins c.
        weight: strength of the data, J.
    """

    def __init__(self, hamiltonian: Hamiltonian, operator: Operator, coarse_CYX: Maps, weight: float) -> None:
        self._hamiltonian = hamiltonian
        self._operator = operator
        self._coarse_CYX = coarse_CYX
        self._weight = np.float32(weight)

    def gradient(self, spins_CYX: Maps) -> Maps:
        """Return -F(S) + weight D^T (D S - c), J."""
        field_YXC = effective_field(np.ascontiguousarray(channel_last(spins_CYX)), self._hamiltonian)
        misfit = self._operator.apply(spins_CYX) - self._coarse_CYX
        return self._weight * self._operator.adjoint(misfit) - channel_first(field_YXC)


class Preconditioner:
    """The inverse of A = K + weight D^T D, where K multiplies a wave by coupling (k^2 + 0.2); exact.

    k^2 is that of the lattice, 4 - 2 cos k_x - 2 cos k_y. A^-1 = K^-1 - K^-1 D^T B^-1 D K^-1 with
    B = 1 / weight + D K^-1 D^T, which commutes with translations of the coarse lattice, so it is a factor for each
    coarse wave.

    Args:
        operator: the degradation D.
        coupling: strength of K, J.
        weight: strength of the data, J.
    """

    def __init__(self, operator: Operator, coupling: float, weight: float) -> None:
        self._operator = operator
        rows, columns = operator.shape
        ky, kx = 2 * np.pi * np.fft.fftfreq(rows)[:, None], 2 * np.pi * np.fft.rfftfreq(columns)
        stiffness = coupling * (4 - 2 * np.cos(ky) - 2 * np.cos(kx) + _FLOOR)
        self._compliance = (1 / stiffness).astype(np.float32)
        pulse = np.zeros(operator.coarse_shape, np.float32)
        pulse[0, 0] = 1
        spread = operator.apply(_filtered(operator.adjoint(pulse), self._compliance))
        self._coarse_inverse = (1 / (1 / weight + np.fft.rfft2(spread).real)).astype(np.float32)

    def __call__(self, maps_CYX: Maps) -> Maps:
        """Return A^-1 of maps (..., Y, X)."""
        free = _filtered(maps_CYX, self._compliance)
        bound = self._operator.adjoint(_filtered(self._operator.apply(free), self._coarse_inverse))
        return free - _filtered(bound, self._compliance)


def _filtered(maps_CYX: Maps, factors: Maps) -> Maps:
    """Multiply the waves of maps (..., Y, X) by factors in the order of `numpy.fft.rfft2`."""
    return np.fft.irfft2(np.fft.rfft2(maps_CYX) * factors, s=maps_CYX.shape[-2:])


def _usable(hamiltonian: Hamiltonian | None) -> Hamiltonian:
    if hamiltonian is None:
        raise InputError("hamiltonian", "the method needs one", 'give a Hamiltonian, or use the method "projections"')
    if hamiltonian.boundary != "periodic":
        raise InputError("hamiltonian", "its boundary is open, and degradations are periodic", "use a periodic one")
    require_known(hamiltonian, _QUADRATIC, "the method")
    if not hamiltonian.largest_coupling:
        raise InputError("hamiltonian", "all its terms are zero", 'use the method "projections"')
    return hamiltonian
