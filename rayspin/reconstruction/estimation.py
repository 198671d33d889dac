"""Estimation of what a reconstruction assumes (strengths, blur, gain, offset) from the coarse spins alone.

Spins that minimize E(S) + weight / 2 |D S - c|^2 reproduce the coarse spins c only if the Hamiltonian and the
degradation D are right. So the parameters p minimize the misfit r(p) = gain D S(p) + offset - c, where S(p) is the
result of `MAP` under p. It is a nonlinear least-squares problem of few parameters; Gauss-Newton solves it in a few
rounds if the derivative of r includes the response of S(p), which finite differences of the descent provide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.physics import Degradation, Hamiltonian
from rayspin.physics.degradation import LinearDegradation
from rayspin.reconstruction.operator import Maps, Operator
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Problem

Values = npt.NDArray[np.float64]

# Fields count as independent if there are at least so many. Otherwise blocks of fields do, of this side in fine sites:
# beyond the period of the preset labyrinths (21.6 sites), but domains are correlated over longer distances.
_FIELDS, _BLOCK = 4, 32

# Relative error of the strengths that all fields share. Fields of the presets' schedules are quenched to torques of
# 1e-5 J rather than 0, and walls that still move bias the strengths: by -0.05 % (labyrinths) and 0.1 % (domains).
_INCOMPLETE_QUENCH = 1e-3

# A round whose misfit exceeds that of the best one by this factor goes half of the way back, so many times in a row at
# most. Where the descents end varies the misfit by less.
_WORSE, _HALVINGS = 1.05, 4


@dataclass(frozen=True)
class Assumptions:
    """What a reconstruction under a Hamiltonian assumes: coarse = gain * D(fine) + offset, in each component.

    Attributes:
        hamiltonian: the Hamiltonian whose local minima the fine spins are.
        degradation: the degradation D.
        gain: gain of the components x, y, z.
        offset: offset of the components x, y, z.
    """

    hamiltonian: Hamiltonian
    degradation: LinearDegradation
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Parameter:
    """A number of the assumptions that is estimated.

    Attributes:
        read: returns its value.
        write: returns the assumptions with another value.
        least: the smallest value.
        step: change of the value in finite differences, relative to the value or to `typical`, whichever is larger.
        typical: size of the value, and largest change of it in a round, in its unit.
        unit: returns the unit.
        shared: error that more fields don't reduce, relative to the value.
    """

    read: Callable[[Assumptions], float]
    write: Callable[[Assumptions, float], Assumptions]
    least: float = -np.inf
    step: float = 1e-3
    typical: float = 0.1
    unit: Callable[[Assumptions], float] = lambda given: 1.0  # noqa: ARG005
    shared: float = 0.0


def _strength(name: str) -> Parameter:
    return Parameter(
        lambda given: float(getattr(given.hamiltonian, name)),
        lambda given, value: replace(given, hamiltonian=given.hamiltonian.with_updates(**{name: value})),
        least=0.0 if name == "dipole" else -np.inf,
        unit=lambda given: abs(given.hamiltonian.exchange) or given.hamiltonian.largest_coupling,
        shared=_INCOMPLETE_QUENCH,
    )


def _entry(name: str, component: int, typical: float) -> Parameter:
    def write(given: Assumptions, value: float) -> Assumptions:
        entries = list(getattr(given, name))
        entries[component] = value
        changed: Any = {name: tuple(entries)}
        return replace(given, **changed)

    return Parameter(lambda given: float(getattr(given, name)[component]), write, typical=typical)


STRENGTHS: Mapping[str, Parameter] = {name: _strength(name) for name in ("dmi", "dipole", "anisotropy")}
"""The strengths of terms of the Hamiltonian, by their names."""


def _blur(given: Assumptions) -> Degradation:
    assert isinstance(given.degradation, Degradation)
    return given.degradation


SIGMA = Parameter(
    lambda given: _blur(given).sigma,
    lambda given, value: replace(given, degradation=_blur(given).with_updates(sigma=value)),
    least=1e-3,
    typical=0.5,
)
"""The width of the blur, fine sites."""

GAINS = tuple(_entry("gain", component, 0.5) for component in range(3))
"""The gains of the components x, y, z."""

OFFSETS = tuple(_entry("offset", component, 0.1) for component in range(3))
"""The offsets of the components x, y, z."""


@dataclass(frozen=True)
class Estimate:
    """Estimated assumptions.

    Attributes:
        assumptions: the assumptions with the estimated values.
        errors: standard error of each parameter, such that two of them cover 95 %.
        spins_NCYX: unit spins, reconstructed under the assumptions.
    """

    assumptions: Assumptions
    errors: Values
    spins_NCYX: Maps


def estimate(
    problem: Problem, given: Assumptions, parameters: Sequence[Parameter], method: MAP, rounds: int, tolerance: float
) -> Estimate:
    """Estimate parameters by Gauss-Newton steps.

    The standard errors are those of `standard_errors`, and the error that all fields share, in quadrature.

    Args:
        problem: the coarse spins, and the spins from which the first descent starts (required).
        given: the assumptions from which the parameters start.
        parameters: what to estimate.
        method: the method of reconstruction.
        rounds: maximum number of steps.
        tolerance: the steps end when no parameter changes by more than this, relative to its value or typical value.
    """
    values = np.array([parameter.read(given) for parameter in parameters])
    least = np.array([parameter.least for parameter in parameters])
    largest = np.array([parameter.typical * parameter.unit(given) for parameter in parameters])
    best: tuple[float, Values] = np.inf, values
    halvings, jacobian = 0, np.empty(0)
    for _ in range(rounds):
        problem, residual = _response(problem, _written(given, parameters, values), method)
        misfit = float(np.square(residual).mean())
        if misfit > _WORSE * best[0] and halvings < _HALVINGS:
            halvings, values = halvings + 1, (values + best[1]) / 2
            continue
        best, halvings = (misfit, values), 0
        jacobian = _jacobian(problem, given, parameters, values, residual, method)
        step, *_ = np.linalg.lstsq(jacobian.reshape(-1, len(values)), -residual.ravel(), rcond=None)
        values = np.maximum(values + np.clip(step, -largest, largest), least)
        if (np.abs(values - best[1]) <= tolerance * np.maximum(np.abs(values), largest)).all():
            break
    found = _written(given, parameters, values)
    problem, residual = _response(problem, found, method)
    assert problem.start_NCYX is not None
    shared = np.abs(values) * [parameter.shared for parameter in parameters]
    errors: Values = np.hypot(standard_errors(jacobian, residual, problem.operator.scale), shared)
    return Estimate(found, errors, problem.start_NCYX)


def _written(given: Assumptions, parameters: Sequence[Parameter], values: Values) -> Assumptions:
    for parameter, value in zip(parameters, values):
        given = parameter.write(given, float(value))
    return given


def _response(problem: Problem, given: Assumptions, method: MAP) -> tuple[Problem, Values]:
    """Reconstruct; return the problem with the result as its start, and the misfit (N, 3, K, Y / scale, X / scale)."""
    gain, offset = (np.array(entries, np.float32)[:, None, None, None] for entries in (given.gain, given.offset))
    operator = problem.operator
    assumed = replace(
        problem,
        coarse_NCKYX=(problem.coarse_NCKYX - offset) / gain,
        operator=Operator(given.degradation, operator.shape, operator.scale, operator.shifts),
        hamiltonian=given.hamiltonian,
    )
    spins = method.solve(assumed)
    return replace(problem, start_NCYX=spins), (-gain * assumed.misfit(spins)).astype(np.float64)


def _jacobian(
    problem: Problem,
    given: Assumptions,
    parameters: Sequence[Parameter],
    values: Values,
    residual: Values,
    method: MAP,
) -> Values:
    """Return the derivative of the misfit, with one more axis for the parameters."""
    derivatives = []
    for index, parameter in enumerate(parameters):
        step = parameter.step * max(abs(values[index]), parameter.typical * parameter.unit(given))
        moved = values.copy()
        moved[index] += step
        _, changed = _response(problem, _written(given, parameters, moved), method)
        derivatives.append((changed - residual) / step)
    return np.stack(derivatives, axis=-1)


def standard_errors(jacobian: Values, residual: Values, scale: int) -> Values:
    """Return standard errors of parameters that minimize a misfit, from the spread of the scores J^T r over clusters.

    The clusters are the fields, or blocks of 32 x 32 sites if there are fewer than four fields. This sandwich estimate
    H^-1 (sum over clusters of g g^T) H^-1, with H = J^T J and the scores g, needs no assumption on what causes the
    misfit or how it is correlated within a cluster. Few clusters tell their spread badly, so the errors are enlarged
    until two of them cover 95 % (Student's t). They don't know of an error that all clusters share.

    Args:
        jacobian: derivative of the misfit, (N, 3, K, Y / scale, X / scale, parameters).
        residual: the misfit r, of the same shape but for the last axis.
        scale: fine sites per coarse pixel along each axis.

    Returns:
        one error for each parameter; infinite for a single cluster.
    """
    parameters = jacobian.shape[-1]
    flat = jacobian.reshape(-1, parameters)
    inverse = np.linalg.pinv(flat.T @ flat)
    scores = (jacobian * residual[..., None]).sum(axis=(1, 2))
    side = max(1, _BLOCK // scale) if len(scores) < _FIELDS else max(scores.shape[1:3])
    for axis in (1, 2):
        scores = np.add.reduceat(scores, np.arange(0, scores.shape[axis], side), axis=axis)
    scores = scores.reshape(-1, parameters)
    free = len(scores) - 1
    if not free:
        return np.full(parameters, np.inf)
    covariance = inverse @ (scores.T @ scores) @ inverse * (1 + 1 / free)
    errors: Values = _student(free) * np.sqrt(np.diag(covariance))
    return errors


def _student(free: int) -> float:
    """Return half of the range of Student's t that holds 95.45 %, by its expansion in 1 / free.

    Args:
        free: degrees of freedom. From two on, the result is right within 3 %.
    """
    return 1 + 1.25 / free + 1.53 / free**2 + 1.43 / free**3
