"""Reconstruction by alternating projections onto the coarse data and onto unit length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pydantic

from rayspin.config import Config
from rayspin.reconstruction.fourier import Fourier
from rayspin.reconstruction.problem import Maps, Method, Problem, fields, possible
from rayspin.reconstruction.wiener import Wiener, WienerEM

LINEAR: Mapping[str, type[Method]] = {"fourier": Fourier, "wiener": Wiener, "wiener-em": WienerEM}
"""The methods without iterations on fine spins, by name."""


class Projections(Config):
    """Repeats S <- normalize(S + U (c - D S)), with the Fourier inverse U of the degradation D.

    The first step makes the degraded spins equal to the coarse ones, the second makes the spins unit vectors. It
    uses only the degradation and the length, and fits noise like spins. If S_z alone was measured, the second step
    limits it to -1 and 1.
    """

    iterations: int = pydantic.Field(100, ge=0)
    """Number of repetitions."""
    start: Literal["fourier", "wiener", "wiener-em"] = "fourier"
    """Method whose result the repetitions start from, unless `reconstruct` is given a start."""

    def solve(self, problem: Problem) -> Maps:
        """Return spins of unit length that agree with the coarse ones; see `Method`."""
        spins_NCYX = problem.start_NCYX
        if spins_NCYX is None:
            spins_NCYX = LINEAR[self.start]().solve(problem)
        spins_NCYX = possible(spins_NCYX).astype(np.float32, copy=False)
        for n, field in enumerate(fields(problem)):
            spins_CYX = spins_NCYX[n : n + 1]
            for _ in range(self.iterations):
                spins_CYX = possible(spins_CYX + problem.operator.inverse(field.misfit(spins_CYX)))
            spins_NCYX[n] = spins_CYX[0]
        return spins_NCYX
