"""What methods of reconstruction are given: coarse spins, the degradation as an operator, and further knowledge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rayspin.arrays import channel_first
from rayspin.errors import InputError
from rayspin.physics import Hamiltonian
from rayspin.reconstruction.operator import Maps as Maps
from rayspin.reconstruction.operator import Operator as Operator

Spectrum = npt.NDArray[np.complexfloating]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Problem:
    """Coarse spins, and all that is known about the fine ones.

    Attributes:
        coarse_NCKYX: the coarse spins of K observations of each field. C is 3, or 1 if only S_z was measured. Pixels
            that are missing hold a guess.
        operator: the degradation.
        hamiltonian: the Hamiltonian whose local minima the fine spins are, if it is known.
        spectrum_YXCC: the mean of S_k S_k^H of fine fields, if it is known; see `spectrum`.
        start_NCYX: fine spins from which iterations start; None lets the method choose.
        known_NKYX: False where a pixel is missing; None if there are all pixels.
        variance: variance of the noise in each component of a coarse spin; None if it is unknown.
    """

    coarse_NCKYX: Maps
    operator: Operator
    hamiltonian: Hamiltonian | None = None
    spectrum_YXCC: Spectrum | None = None
    start_NCYX: Maps | None = None
    known_NKYX: Mask | None = None
    variance: float | None = 0.0

    @property
    def measured(self) -> slice:
        """The components that were measured."""
        return slice(3 - self.coarse_NCKYX.shape[1], 3)

    def require_all_components(self, who: str) -> None:
        """Check that all three components were measured.

        Raises:
            InputError: only S_z was.
        """
        if self.coarse_NCKYX.shape[1] != 3:
            remedy = 'give all three, or use the method "map" with a Hamiltonian'
            raise InputError("coarse spins", f"{who} needs all components, not S_z alone", remedy)

    def misfit(self, spins_NCYX: Maps) -> Maps:
        """Return c - D S of the pixels that are known, and zero elsewhere, in the shape of the coarse spins.

        Args:
            spins_NCYX: fine spins (N, 3, Y, X), or (N, 1, Y, X) if S_z alone was measured.
        """
        measured_NCYX = spins_NCYX[:, -self.coarse_NCKYX.shape[1] :]
        misfit = self.coarse_NCKYX - self.operator.apply(measured_NCYX)
        return misfit if self.known_NKYX is None else misfit * self.known_NKYX[:, None]


class Method(Protocol):
    """A method of reconstruction, with its options."""

    def solve(self, problem: Problem) -> Maps:
        """Return fine spins (N, 3, Y, X), of any length, or (N, 1, Y, X) if all that is computed is S_z.

        Args:
            problem: the coarse spins and what is known.

        Raises:
            InputError: the method needs what the problem lacks.
        """


def component_maps(spins_NYXC: npt.NDArray[np.floating]) -> Maps:
    """Return spins (..., Y, X, C) as contiguous maps (..., C, Y, X) in float32."""
    return np.ascontiguousarray(channel_first(spins_NYXC), np.float32)


def unit(spins_CYX: Maps) -> Maps:
    """Normalize spins (..., 3, Y, X) to length 1. A spin of length zero, which has no direction, becomes +z."""
    length = np.sqrt(np.square(spins_CYX).sum(axis=-3, keepdims=True))
    up = np.array([0, 0, 1], spins_CYX.dtype)[:, None, None]
    return np.where(length > 0, spins_CYX / np.where(length > 0, length, 1), up)


def possible(spins_CYX: Maps) -> Maps:
    """Return the nearest spins that are possible: of length 1, (..., 3, Y, X), or S_z from -1 to 1, (..., 1, Y, X)."""
    return unit(spins_CYX) if spins_CYX.shape[-3] == 3 else np.clip(spins_CYX, -1, 1)


def fields(problem: Problem) -> Iterator[Problem]:
    """Yield the problem of each field, without a start. The caches of a CPU hold one field, but not all."""
    for n in range(len(problem.coarse_NCKYX)):
        one, known = slice(n, n + 1), problem.known_NKYX
        known = None if known is None else known[one]
        yield replace(problem, coarse_NCKYX=problem.coarse_NCKYX[one], known_NKYX=known, start_NCYX=None)
