"""What methods of reconstruction are given: coarse spins, the degradation as an operator, and further knowledge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rayspin.physics import Degradation, Hamiltonian

Maps = npt.NDArray[np.floating]
Spectrum = npt.NDArray[np.complexfloating]


class Operator:
    """A degradation of a lattice, its adjoint and its Fourier inverse, for maps (..., Y, X) in float32.

    Args:
        degradation: the degradation.
        shape: fine rows and columns.
        scale: fine sites per coarse pixel along each axis.

    Attributes:
        shape: fine rows and columns.
        coarse_shape: coarse rows and columns.
        scale: fine sites per coarse pixel along each axis.
        degradation: the degradation.

    Raises:
        InputError: the lattice is invalid or doesn't divide, or the degradation has no inverse.
    """

    def __init__(self, degradation: Degradation, shape: tuple[int, int], scale: int) -> None:
        degradation.check_inverse(shape, scale)
        self.degradation = degradation
        self.shape = shape
        self.scale = scale
        self.coarse_shape = shape[0] // scale, shape[1] // scale
        self._rows, self._columns = (degradation.matrix(sites, scale).astype(np.float32) for sites in shape)
        self._to_rows, self._to_columns = (degradation.inverse(sites, scale).astype(np.float32) for sites in shape)

    def apply(self, fine_YX: Maps) -> Maps:
        """Return D x, (..., Y / scale, X / scale)."""
        return self._rows @ fine_YX @ self._columns.T

    def adjoint(self, coarse_YX: Maps) -> Maps:
        """Return D^T y, (..., Y, X), with <D x, y> = <x, D^T y>."""
        return self._rows.T @ coarse_YX @ self._columns

    def inverse(self, coarse_YX: Maps) -> Maps:
        """Return the band-limited maps U y, (..., Y, X), with D U y = y; see `Degradation.inverse`."""
        return self._to_rows @ coarse_YX @ self._to_columns.T

    def transfer(self) -> npt.NDArray[np.complex64]:
        """Return the factor of each fine wave, (Y, X), in the order of `numpy.fft.fft2`; see `Degradation.transfer`."""
        rows, columns = (self.degradation.transfer(sites, self.scale) for sites in self.shape)
        return np.outer(rows, columns).astype(np.complex64)


@dataclass(frozen=True)
class Problem:
    """Coarse spins, and all that is known about the fine ones.

    Attributes:
        coarse_NCYX: coarse spins.
        operator: the degradation.
        hamiltonian: the Hamiltonian whose local minima the fine spins are, if it is known.
        spectrum_YXCC: the mean of S_k S_k^H of fine fields, if it is known; see `spectrum`.
        start_NCYX: fine spins from which iterations start; None lets the method choose.
    """

    coarse_NCYX: Maps
    operator: Operator
    hamiltonian: Hamiltonian | None = None
    spectrum_YXCC: Spectrum | None = None
    start_NCYX: Maps | None = None


class Method(Protocol):
    """A method of reconstruction, with its options."""

    def solve(self, problem: Problem) -> Maps:
        """Return fine spins (N, 3, Y, X), of any length.

        Args:
            problem: the coarse spins and what is known.

        Raises:
            InputError: the method needs what the problem lacks.
        """


def unit(spins_CYX: Maps) -> Maps:
    """Normalize spins (..., 3, Y, X) to length 1. A spin of length zero, which has no direction, becomes +z."""
    length = np.sqrt(np.square(spins_CYX).sum(axis=-3, keepdims=True))
    up = np.array([0, 0, 1], spins_CYX.dtype)[:, None, None]
    return np.where(length > 0, spins_CYX / np.where(length > 0, length, 1), up)
