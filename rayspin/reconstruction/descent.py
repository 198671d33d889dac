"""Preconditioned Riemannian conjugate gradients for quadratic objectives of unit spins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from rayspin.reconstruction.problem import Maps, unit

# Longest move of a spin in one step, before it is normalized. Longer moves leave the region where the objective is
# nearly quadratic on the sphere.
_LONGEST_MOVE = 0.7

# Increase of the objective that counts as rounding of float32, relative to its value.
_ROUNDING = 1e-6


class Objective(Protocol):
    """A quadratic function of spins (3, Y, X)."""

    def gradient(self, spins_CYX: Maps) -> Maps:
        """Return the gradient, an affine function of the spins."""


def minimize(
    objective: Objective, precondition: Callable[[Maps], Maps], start_CYX: Maps, iterations: int, tolerance: float
) -> Maps:
    """Minimize an objective over unit spins, by conjugate gradients on the product of spheres (Polak and Ribiere).

    Args:
        objective: the objective.
        precondition: an approximate inverse of the second derivative, symmetric and positive.
        start_CYX: initial unit spins.
        iterations: maximum number of iterations.
        tolerance: the iterations end when no spin has a tangential gradient longer than this.

    Returns:
        unit spins (3, Y, X).
    """
    constant = objective.gradient(np.zeros_like(start_CYX))
    spins, gradient = start_CYX, objective.gradient(start_CYX)
    value = _dot(spins, gradient + constant) / 2
    residual = _tangent(gradient, spins)
    move = _tangent(precondition(residual), spins)
    direction, decrease, longest = -move, _dot(residual, move), _LONGEST_MOVE
    for _ in range(iterations):
        if _longest(residual) <= tolerance:
            break
        slope = _dot(residual, direction)
        if slope >= 0:
            direction, slope = -move, -decrease
        # The second derivative on the sphere has a term from the curvature of the sphere.
        along = (spins * gradient).sum(axis=0)
        bend = _dot(direction, objective.gradient(direction) - constant) - _dot(along * direction, direction)
        limit = longest / _longest(direction)
        step = min(-slope / bend, limit) if bend > 0 else limit
        trial = unit(spins + np.float32(step) * direction)
        trial_gradient = objective.gradient(trial)
        trial_value = _dot(trial, trial_gradient + constant) / 2
        if trial_value > value + _ROUNDING * abs(value):
            longest, direction = 0.3 * step * _longest(direction), -move
            continue
        longest = min(1.3 * longest, _LONGEST_MOVE)
        spins, gradient, value = trial, trial_gradient, trial_value
        previous, residual = residual, _tangent(gradient, spins)
        move = _tangent(precondition(residual), spins)
        conjugacy = max(0.0, _dot(residual - previous, move) / decrease)
        direction = np.float32(conjugacy) * _tangent(direction, spins) - move
        decrease = _dot(residual, move)
    return spins


def _tangent(vectors_CYX: Maps, spins_CYX: Maps) -> Maps:
    """Return the part of vectors perpendicular to unit spins."""
    along: Maps = (vectors_CYX * spins_CYX).sum(axis=0)
    return vectors_CYX - along * spins_CYX


def _dot(a_CYX: Maps, b_CYX: Maps) -> float:
    return float((a_CYX * b_CYX).sum(dtype=np.float64))


def _longest(vectors_CYX: Maps) -> float:
    return float(np.sqrt(np.square(vectors_CYX).sum(axis=0).max()))
