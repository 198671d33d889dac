"""Reconstruction as the maximum of the posterior (MAP) under a known Hamiltonian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import pydantic

from rayspin.arrays import channel_first, channel_last
from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics import Hamiltonian, effective_field
from rayspin.physics.field import require_known
from rayspin.reconstruction.descent import minimize
from rayspin.reconstruction.preconditioner import Preconditioner
from rayspin.reconstruction.problem import Maps, Method, Problem, fields, unit
from rayspin.reconstruction.projections import LINEAR, Projections
from rayspin.reconstruction.starts import from_out_of_plane, smoothest
from rayspin.rng import generator

_STARTS: Mapping[str, type[Method]] = {**LINEAR, "projections": Projections}

# Terms that are at most quadratic in the spins.
_QUADRATIC = {"exchange", "dmi", "dipole", "anisotropy", "external_field"}

# Weights among which held-out pixels choose, and the effort for each.
_WEIGHTS = tuple(float(weight) for weight in np.geomspace(300, 0.01, 10))
_HIDDEN_SHARE, _HELD_OUT_FIELDS, _HELD_OUT_ITERATIONS, _HELD_OUT_TOLERANCE = 0.1, 8, 20, 1e-3


class MAP(Config):
    """Minimizes E(S) + weight / 2 |D S - c|^2 over unit spins S, for the energy E in J and coarse spins c.

    It finds the local minimum of the energy that is nearest to the coarse spins, and is meant for fields that were
    quenched to such a minimum. The result has the accuracy of the Hamiltonian.
    """

    weight: Annotated[float, pydantic.Field(gt=0)] | Literal["held-out"] | None = None
    """Strength of the coarse data, in units of the largest coupling. None selects 100 for data without noise, a value
    that suits a known noise, and "held-out" where the noise is estimated. "held-out" takes the one of ten weights that
    best predicts a tenth of the pixels from the others, for all fields together."""
    start: Literal["fourier", "wiener", "wiener-em", "projections", "smooth"] | None = None
    """Method whose result the descent starts from, unless `reconstruct` is given a start. "smooth" is the field that
    minimizes the misfit and its own gradients, which needs no inverse of the degradation. None selects "wiener-em" for
    noisy data, otherwise "fourier", and "smooth" where the degradation doesn't have what these need. Labyrinths at
    scale 16 need "wiener-em" and a weight of about 20."""
    iterations: int = pydantic.Field(200, ge=0)
    """Maximum number of iterations for each field."""
    tolerance: float = pydantic.Field(1e-4, gt=0)
    """The descent ends when no tangential gradient exceeds this, in units of the largest coupling."""

    def solve(self, problem: Problem) -> Maps:
        """Return the spins of least energy and misfit near the start, of unit length; see `Method`."""
        _usable(problem.hamiltonian)
        start_NCYX = self._start(problem) if problem.start_NCYX is None else problem.start_NCYX
        problem = replace(problem, start_NCYX=unit(start_NCYX).astype(np.float32, copy=False))
        return descend(problem, self._weight(problem), self.iterations, self.tolerance)

    def _start(self, problem: Problem) -> Maps:
        hamiltonian = _usable(problem.hamiltonian)
        if problem.measured.start:
            return from_out_of_plane(problem, hamiltonian)
        start = self.start
        if start is None and problem.operator.commutes:
            start = "wiener-em" if problem.variance else "fourier"
            try:
                return _STARTS[start]().solve(problem)
            except InputError:
                start = "smooth"
        if start is None or start == "smooth":
            return smoothest(problem)
        return _STARTS[start]().solve(problem)

    def _weight(self, problem: Problem) -> float:
        if self.weight == "held-out" or (self.weight is None and problem.variance_is_estimated):
            return held_out_weight(problem)
        return self.weight or weight_for(problem.variance, problem.operator.scale)


def weight_for(variance: float, scale: int) -> float:
    """Return a weight that suits a variance of the noise in each component of a coarse spin, fitted to measurements."""
    return 100.0 if variance == 0 else min(100.0, scale / 50 * variance**-0.45)


def held_out_weight(problem: Problem) -> float:
    """Return the one of ten weights whose result best predicts coarse pixels that were hidden from it.

    A tenth of the pixels is hidden. The weights are tried from large to small, each from the result before.

    Args:
        problem: a problem with a start; its first eight fields are used.
    """
    few = slice(_HELD_OUT_FIELDS)
    problem = replace(problem, coarse_NCKYX=problem.coarse_NCKYX[few], start_NCYX=problem.start_NCYX[few])
    coarse = problem.coarse_NCKYX
    known = np.ones_like(coarse[:, 0], bool) if problem.known_NKYX is None else problem.known_NKYX[few]
    hidden = known & (generator("held-out", 0).random(known.shape) < _HIDDEN_SHARE)
    errors = []
    trial = replace(problem, known_NKYX=known & ~hidden)
    for weight in _WEIGHTS:
        spins_NCYX = descend(trial, weight, _HELD_OUT_ITERATIONS, _HELD_OUT_TOLERANCE)
        misfit = coarse - problem.operator.apply(spins_NCYX[:, problem.measured])
        errors.append(np.square(misfit).mean(axis=1)[hidden].sum())
        trial = replace(trial, start_NCYX=spins_NCYX)
    return _WEIGHTS[int(np.argmin(errors))]


def descend(problem: Problem, weight: float, iterations: int, tolerance: float) -> Maps:
    """Minimize the energy and the misfit of each field from the problem's start; see `MAP` for the arguments."""
    hamiltonian = _usable(problem.hamiltonian)
    coupling = hamiltonian.largest_coupling
    precondition = Preconditioner(problem.operator, coupling, weight * coupling, problem.measured)
    spins_NCYX = problem.start_NCYX.copy()
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
