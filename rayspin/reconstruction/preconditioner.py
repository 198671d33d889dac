"""The preconditioner of MAP: the inverse of a stiffness of waves together with the coarse data."""

from __future__ import annotations

import numpy as np

from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import Maps

FLOOR = 0.2
"""Stiffness of uniform rotations, added to k^2, in units of the largest coupling: about the smallest stiffness of the
energy in labyrinths and domains."""


class Preconditioner:
    """The inverse of A = K + weight D^T D, where K multiplies a wave by coupling (k^2 + 0.2).

    k^2 is that of the lattice, 4 - 2 cos k_x - 2 cos k_y. A^-1 = K^-1 - K^-1 D^T B^-1 D K^-1 with
    B = 1 / weight + D K^-1 D^T. It is exact where D commutes with translations of the coarse lattice, so that B is a
    matrix of the observations for each coarse wave. Otherwise D^T D is replaced by the part of it that commutes with
    translations by fine sites.

    Args:
        operator: the degradation D.
        coupling: strength of K, J.
        weight: strength of the data, J.
        measured: components that were measured; the others have weight zero.
    """

    def __init__(self, operator: Operator, coupling: float, weight: float, measured: slice = slice(3)) -> None:
        self._operator, self._measured = operator, measured
        ky, kx = (2 * np.pi * np.fft.fftfreq(sites) for sites in operator.shape)
        stiffness = coupling * (4 - 2 * np.cos(ky)[:, None] - 2 * np.cos(kx) + FLOOR)
        self._compliance = _half(1 / stiffness)
        self._exact = operator.commutes
        if self._exact:
            response = operator.coarse_response(1 / stiffness)
            inverse = np.linalg.inv(np.eye(response.shape[-1]) / weight + response)
            self._coarse_inverse = _half(np.moveaxis(inverse, (2, 3), (0, 1)))
        else:
            self._bound = _half(1 / (stiffness + weight * operator.mean_response()))

    def __call__(self, maps_CYX: Maps) -> Maps:
        """Return A^-1 of maps (..., 3, Y, X), in float32."""
        waves, shape = np.fft.rfft2(maps_CYX), self._operator.shape
        result: Maps = np.fft.irfft2(waves * self._compliance, s=shape)
        measured = (..., self._measured, slice(None), slice(None))
        if not self._exact:
            result[measured] = np.fft.irfft2(waves[measured] * self._bound, s=shape)
            return result
        coarse = np.fft.rfft2(self._operator.apply(result[measured]))
        coarse = (self._coarse_inverse * coarse[..., None, :, :, :]).sum(axis=-3)
        data = self._operator.adjoint(np.fft.irfft2(coarse, s=self._operator.coarse_shape))
        result[measured] -= np.fft.irfft2(np.fft.rfft2(data) * self._compliance, s=shape)
        return result


def _half(factors_YX: np.ndarray) -> np.ndarray:
    """Return factors of waves (..., Y, X) in the order of `numpy.fft.rfft2`, in single precision."""
    half = factors_YX[..., : factors_YX.shape[-1] // 2 + 1]
    return half.astype(np.complex64 if np.iscomplexobj(half) else np.float32)
