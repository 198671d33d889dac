"""Reconstruction as the maximum of the posterior (MAP) under a known Hamiltonian."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

import numpy as np
import pydantic

from rayspin.arrays import channel_first, channel_last
from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics import Hamiltonian, effective_field
from rayspin.physics.field import require_known
from rayspin.reconstruction.descent import minimize
from rayspin.reconstruction.gaps import search_gaps
from rayspin.reconstruction.held_out import held_out_weight
from rayspin.reconstruction.preconditioner import Preconditioner
from rayspin.reconstruction.problem import Maps, Method, Problem, fields, unit
from rayspin.reconstruction.projections import LINEAR, Projections
from rayspin.reconstruction.starts import from_out_of_plane, smoothest

_STARTS: Mapping[str, type[Method]] = {**LINEAR, "projections": Projections}

# Terms that are at most quadratic in the spins.
_QUADRATIC = {"exchange", "dmi", "dipole", "anisotropy", "external_field"}

# Weights of data without noise: of all components, and of S_z alone, which leaves more to the energy.
_WITHOUT_NOISE, _OUT_OF_PLANE = 100.0, 1000.0


class MAP(Config):
    """Minimizes E(S) + weight / 2 |D S - c|^2 over unit spins S, for the energy E in J and coarse spins c.

    It finds the local minimum of the energy that is nearest to the coarse spins, and is meant for fields that were
    quenched to such a minimum. The result has the accuracy of the Hamiltonian.
    """

    weight: Annotated[float, pydantic.Field(gt=0)] | Literal["held-out"] | None = None
    """Strength of the coarse data, in units of the largest coupling. "held-out" takes the one of ten weights that best
    predicts a tenth of the pixels from the others, for all fields together: the best weight for noisy data depends on
    the texture as much as on the noise. None selects 100 for data without noise (1000 for
    S_z alone), and "held-out" otherwise."""
    start: Literal["fourier", "wiener", "wiener-em", "projections", "smooth"] | None = None
    """Method whose result the descent starts from, unless `reconstruct` is given a start. "smooth" is the field that
    minimizes the misfit and its own gradients, which needs no inverse of the degradation. None selects "wiener-em" for
    data with noise or missing pixels, otherwise "fourier", and "smooth" where the degradation doesn't have what these
    need. Labyrinths at scale 16 need "wiener-em" and a weight of about 20."""
    # Trust models, which assume all pixels, know methods by their representation.
    gap_tries: int = pydantic.Field(40, ge=0, repr=False)
    """Number of times that the spins around missing pixels are perturbed to find lower minima, unless `reconstruct` is
    given a start."""
    iterations: int = pydantic.Field(200, ge=0)
    """Maximum number of iterations for each field."""
    tolerance: float = pydantic.Field(1e-4, gt=0)
    """The descent ends when no tangential gradient exceeds this, in units of the largest coupling."""

    def solve(self, problem: Problem) -> Maps:
        """Return the spins of least energy and misfit near the start, of unit length; see `Method`."""
        hamiltonian = _usable(problem.hamiltonian)
        start_NCYX = self.start_of(problem)
        weight = self.weight_of(problem, start_NCYX)
        solve = partial(descend, problem, weight=weight, iterations=self.iterations, tolerance=self.tolerance)
        spins_NCYX = solve(start_NCYX)
        if problem.known_NKYX is None or problem.start_NCYX is not None or not self.gap_tries:
            return spins_NCYX
        strength = weight * hamiltonian.largest_coupling
        return search_gaps(problem, hamiltonian, spins_NCYX, strength, self.gap_tries, solve)

    def chooses_weight(self, *, noisy: bool) -> bool:
        """Return whether the weight is chosen by hidden pixels, for data with or without noise."""
        return self.weight == "held-out" or (self.weight is None and noisy)

    def weight_of(self, problem: Problem, start_NCYX: Maps) -> float:
        """Return the weight for a problem, in units of the largest coupling.

        Args:
            problem: the coarse spins and what is known.
            start_NCYX: unit spins to start from.
        """
        if self.chooses_weight(noisy=bool(problem.variance)):
            return held_out_weight(problem, start_NCYX, descend)
        if isinstance(self.weight, float):
            return self.weight
        return _OUT_OF_PLANE if problem.measured.start else _WITHOUT_NOISE

    def start_of(self, problem: Problem) -> Maps:
        """Return the unit spins that the descent starts from, (N, 3, Y, X).

        Raises:
            InputError: the problem lacks what they need.
        """
        start_NCYX = self._own_start(problem) if problem.start_NCYX is None else problem.start_NCYX
        return unit(start_NCYX).astype(np.float32, copy=False)

    def _own_start(self, problem: Problem) -> Maps:
        hamiltonian = _usable(problem.hamiltonian)
        if problem.measured.start:
            return from_out_of_plane(problem, hamiltonian)
        start = self.start
        if start is None and problem.operator.commutes:
            start = "wiener-em" if problem.variance or problem.known_NKYX is not None else "fourier"
            try:
                return _STARTS[start]().solve(problem)
            except InputError:
                start = "smooth"
        if start is None or start == "smooth":
            return smoothest(problem)
        return _STARTS[start]().solve(problem)


def descend(problem: Problem, start_NCYX: Maps, weight: float, iterations: int, tolerance: float) -> Maps:
    """Minimize the energy and the misfit of each field from unit spins; see `MAP` for the arguments."""
    hamiltonian = _usable(problem.hamiltonian)
    coupling = hamiltonian.largest_coupling
    precondition = Preconditioner(problem.operator, coupling, weight * coupling, problem.measured)
    spins_NCYX = start_NCYX.copy()
    for n, field in enumerate(fields(problem)):
        objective = Posterior(hamiltonian, field, weight * coupling)
        spins_NCYX[n] = minimize(objective, precondition, spins_NCYX[n], iterations, tolerance * coupling)
    return spins_NCYX


class Posterior:
    """E(S) + weight / 2 |D S - c|^2 of a field, with the misfit of known pixels; an `Objective`.

    Args:
        hamiltonian: the Hamiltonian.
        problem: the coarse spins c of one field, and the degradation D.
        weight: strength of the data, J.
    """

    def __init__(self, hamiltonian: Hamiltonian, problem: Problem, weight: float) -> None:
        self._hamiltonian = hamiltonian
        self._problem = problem
        self._weight = np.float32(weight)

    def gradient(self, spins_CYX: Maps) -> Maps:
        """Return -F(S) + weight D^T (D S - c), J."""
        field_YXC = effective_field(np.ascontiguousarray(channel_last(spins_CYX)), self._hamiltonian)
        gradient = -np.ascontiguousarray(channel_first(field_YXC))
        misfit = self._problem.misfit(spins_CYX[None])[0]
        gradient[self._problem.measured] -= self._weight * self._problem.operator.adjoint(misfit)
        return gradient


def _usable(hamiltonian: Hamiltonian | None) -> Hamiltonian:
    if hamiltonian is None:
        raise InputError("hamiltonian", "the method needs one", 'give a Hamiltonian, or use the method "projections"')
    if hamiltonian.boundary != "periodic":
        raise InputError("hamiltonian", "its boundary is open, and degradations are periodic", "use a periodic one")
    require_known(hamiltonian, _QUADRATIC, "the method")
    if not hamiltonian.largest_coupling:
        raise InputError("hamiltonian", "all its terms are zero", 'use the method "projections"')
    return hamiltonian
