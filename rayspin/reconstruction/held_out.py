"""The weight of coarse data by cross-validation: pixels that were hidden are predicted from the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rayspin.reconstruction.problem import Maps, Problem
from rayspin.rng import generator

Solve = Callable[[Problem, Maps, float, int, float], Maps]
"""A function of a problem, a start, the weight, the number of iterations and the tolerance that returns fine spins."""

_WEIGHTS, _RANGE = 10, 600
_HIDDEN_SHARE = 0.1

# Fields that are used, and hidden pixels that the choice needs, for which the hiding is repeated.
_FIELDS, _ENOUGH_PIXELS, _MOST_REPETITIONS = 8, 1000, 4

# Effort for each weight.
_ITERATIONS, _TOLERANCE = 20, 1e-3


def held_out_weight(problem: Problem, start_NCYX: Maps, solve: Solve) -> float:
    """Return the one of ten weights whose result best predicts coarse pixels that were hidden from it.

    A tenth of the pixels is hidden. The weights are tried from large to small, each from the result before, over a
    range in which the best one lies for labyrinths and domains at the problem's variance.

    Args:
        problem: the problem; its first eight fields are used.
        start_NCYX: unit spins to start from.
        solve: the method.
    """
    few = slice(_FIELDS)
    coarse, known = problem.coarse_NCKYX[few], problem.known_NKYX
    known = np.ones_like(coarse[:, 0], bool) if known is None else known[few]
    weights = _largest(problem.variance or 0.0) * np.geomspace(1, 1 / _RANGE, _WEIGHTS)
    errors = np.zeros(_WEIGHTS)
    repetitions = int(np.clip(np.ceil(_ENOUGH_PIXELS / (_HIDDEN_SHARE * known.sum())), 1, _MOST_REPETITIONS))
    for repetition in range(repetitions):
        hidden = known & (generator("held-out", repetition).random(known.shape) < _HIDDEN_SHARE)
        trial = replace(problem, coarse_NCKYX=coarse, known_NKYX=known & ~hidden)
        spins_NCYX = start_NCYX[few]
        for n, weight in enumerate(weights.tolist()):
            spins_NCYX = solve(trial, spins_NCYX, weight, _ITERATIONS, _TOLERANCE)
            misfit = coarse - problem.operator.apply(spins_NCYX[:, problem.measured])
            errors[n] += np.square(misfit).mean(axis=1)[hidden].sum()
    return float(weights[errors.argmin()])


def _largest(variance: float) -> float:
    """Return the largest weight that is tried, in units of the largest coupling."""
    return min(3000.0, 0.5 / math.sqrt(max(variance, 1e-12)))
