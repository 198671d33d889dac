"""Degradations as operators on maps: several shifted observations of a field, their adjoint and their inverse."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics.degradation import LinearDegradation
from rayspin.reconstruction.waves import band_limited_inverse, filtered, folded_axes
from rayspin.rng import generator

Maps = npt.NDArray[np.floating]
Shifts = Sequence[tuple[int, int]]

# Number of impulses that estimate the mean response of an operator without translations.
_IMPULSES = 64


class Operator:
    """The degradation of a lattice into K coarse observations, for maps (..., Y, X) in float32.

    Observation k is the degradation of the field moved by -shift_k, so its pixels lie at shift_k from those of an
    observation without shift.

    Args:
        degradation: the degradation of each observation.
        shape: fine rows and columns.
        scale: fine sites per coarse pixel along each axis.
        shifts: (rows, columns) by which the pixels of each observation are shifted, fine sites.

    Attributes:
        degradation: the degradation of each observation.
        shape: fine rows and columns.
        coarse_shape: coarse rows and columns.
        scale: fine sites per coarse pixel along each axis.
        shifts: the shift of each observation, fine sites.

    Raises:
        InputError: the lattice is invalid or doesn't divide.
    """

    def __init__(
        self, degradation: LinearDegradation, shape: tuple[int, int], scale: int, shifts: Shifts = ((0, 0),)
    ) -> None:
        self.degradation = degradation
        self.shape = shape
        self.scale = scale
        self.shifts = tuple(shifts)
        self.coarse_shape = shape[0] // scale, shape[1] // scale
        self._map = degradation.operator(shape, scale)

    def apply(self, fine_YX: Maps) -> Maps:
        """Return D x, (..., K, Y / scale, X / scale)."""
        return np.stack([self._map.apply(_moved(fine_YX, -y, -x)) for y, x in self.shifts], axis=-3)

    def adjoint(self, coarse_KYX: Maps) -> Maps:
        """Return D^T y, (..., Y, X), with <D x, y> = <x, D^T y>."""
        parts = [_moved(self._map.adjoint(coarse_KYX[..., k, :, :]), y, x) for k, (y, x) in enumerate(self.shifts)]
        total: Maps = parts[0] if len(parts) == 1 else np.sum(parts, axis=0)
        return total

    def inverse(self, coarse_KYX: Maps) -> Maps:
        """Return the maps U y of the longest waves for which D U y is nearest to y, (..., Y, X).

        A single observation is inverted by the degradation's own inverse, if it has one. Otherwise, each group of
        waves that fold into one coarse wave contributes as many waves as there are observations: the longest ones that
        the observations distinguish. Then D U y = y, unless the group has fewer such waves.

        Raises:
            InputError: there is no such inverse, or it would amplify a wave by more than 1000.
        """
        own = getattr(self._map, "inverse", None)
        if own is not None and len(self.shifts) == 1:
            return _moved(own(coarse_KYX[..., 0, :, :]), *self.shifts[0])
        return filtered(coarse_KYX, self._gain, self.scale)

    @cached_property
    def commutes(self) -> bool:
        """Whether the degradation commutes with translations by whole blocks, so that it maps waves to waves."""
        coarse = generator("reconstruction", 0).standard_normal(self.coarse_shape, np.float32)
        moved = self._map.adjoint(_moved(coarse, 1, 1))
        expected = _moved(self._map.adjoint(coarse), self.scale, self.scale)
        return bool(np.abs(moved - expected).max() <= 1e-4 * np.abs(expected).max())

    @cached_property
    def transfer(self) -> npt.NDArray[np.complex64]:
        """The factor of each fine wave in each observation, (K, Y, X), in the order of `numpy.fft.fft2`.

        Coefficient q of the Fourier transform of an observation is the sum of factor times S_k over the waves k that
        fold into q, those which are equal to q modulo the coarse lattice.

        Raises:
            InputError: the degradation mixes waves.
        """
        if not self.commutes:
            remedy = 'use the method "map", or one without mosaic that is periodic'
            raise InputError("degradation", "it does not map waves to waves", remedy)
        pulses = np.zeros((len(self.shifts), len(self.shifts), *self.coarse_shape), np.float32)
        for k in range(len(self.shifts)):
            pulses[k, k, 0, 0] = 1
        return (np.fft.fft2(self.adjoint(pulses)).conj() / self.scale**2).astype(np.complex64)

    @cached_property
    def _gain(self) -> npt.NDArray[np.complex64]:
        found = band_limited_inverse(self.transfer, self.scale) if self.commutes else None
        if found is None:
            remedy = "use a narrower blur and no mosaic"
            raise InputError("degradation", f"it has no inverse at scale {self.scale}", remedy)
        return found

    def coarse_response(self, filter_YX: Maps) -> npt.NDArray[np.complexfloating]:
        """Return D F D^T of a filter F of fine waves, a K x K matrix of each coarse wave, (Y / scale, X / scale, K, K).

        Args:
            filter_YX: factor of each fine wave, (Y, X), in the order of `numpy.fft.fft2`.

        Raises:
            InputError: the degradation mixes waves.
        """
        transfer = folded_axes(self.transfer, self.scale)
        weighted = transfer * folded_axes(filter_YX, self.scale)
        response: npt.NDArray[np.complexfloating] = np.einsum("kaybx,laybx->yxkl", weighted, transfer.conj())
        return response * self.scale**2

    def mean_response(self) -> Maps:
        """Return the part of D^T D that commutes with translations by fine sites, a factor of each wave, (Y, X).

        It is estimated from the responses to impulses at random sites.
        """
        rng, total = generator("reconstruction", 1), np.zeros(self.shape)
        for _ in range(_IMPULSES):
            y, x = (int(rng.integers(sites)) for sites in self.shape)
            impulse = np.zeros(self.shape, np.float32)
            impulse[y, x] = 1
            total += _moved(self.adjoint(self.apply(impulse)), -y, -x)
        return np.maximum(np.fft.fft2(total / _IMPULSES).real, 0)


def _moved(maps_YX: Maps, rows: int, columns: int) -> Maps:
    return np.roll(maps_YX, (rows, columns), axis=(-2, -1)) if rows or columns else maps_YX
