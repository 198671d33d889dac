"""Reconstruction by alternating projections onto the coarse data and onto unit length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pydantic

from rayspin.config import Config
from rayspin.reconstruction.fourier import Fourier
from rayspin.reconstruction.problem import Maps, Method, Problem, unit
from rayspin.reconstruction.wiener import Wiener, WienerEM

LINEAR: Mapping[str, type[Method]] = {"fourier": Fourier, "wiener": Wiener, "wiener-em": WienerEM}
"""The methods without iterations on fine spins, by name."""


class Projections(Config):
    """Repeats S <- normalize(S + U (c - D S)), with the Fourier inverse U of the degradation D.

    The first step makes the degraded spins equal to the coarse ones, the second makes the spins unit vectors. It
    knows only the degradation and the length.
    """

    iterations: int = pydantic.Field(100, ge=0)
    """Number of repetitions."""
    start: Literal["fourier", "wiener", "wiener-em"] = "fourier"
    """Method whose result the repetitions start from, unless `reconstruct` is given a start."""

    def solve(self, problem: Problem) -> Maps:
        """Return spins of unit length that agree with the coarse ones; see `Method`."""
        operator, spins_NCYX = problem.operator, problem.start_NCYX
        if spins_NCYX is None:
            spins_NCYX = LINEAR[self.start]().solve(problem)
        spins_NCYX = unit(spins_NCYX)
        # Field by field, which the caches of a CPU hold.
        for n, coarse_CYX in enumerate(problem.coarse_NCYX):
            for _ in range(self.iterations):
                spins_CYX = spins_NCYX[n]
                spins_NCYX[n] = unit(spins_CYX + operator.inverse(coarse_CYX - operator.apply(spins_CYX)))
        return spins_NCYX
