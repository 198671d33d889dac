"""Spectra of spins: the covariance of the three components of each wave, from fields or by isotropy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.arrays import channel_first
from rayspin.physics.arguments import spin_field
from rayspin.reconstruction.problem import Maps, Spectrum


def spectrum(fine_NYXC: npt.ArrayLike) -> Spectrum:
    """Return the mean of S_k S_k^H over fields, where S_k is the Fourier transform of the spins.

    Args:
        fine_NYXC: fine spins (N, Y, X, 3), or (Y, X, 3).

    Returns:
        (Y, X, 3, 3), in the order of `numpy.fft.fft2`.

    Raises:
        InputError: the spins have a wrong shape or are not finite.
    """
    fine = spin_field(fine_NYXC).astype(np.float32)
    return covariance(channel_first(fine.reshape(-1, *fine.shape[-3:])))


def covariance(maps_NCYX: Maps) -> Spectrum:
    """Return the mean of S_k S_k^H over maps (N, C, Y, X), (Y, X, C, C)."""
    waves_YXCN = np.fft.fft2(maps_NCYX).transpose(2, 3, 1, 0)
    return (waves_YXCN @ waves_YXCN.conj().swapaxes(-1, -2) / len(maps_NCYX)).astype(np.complex64)


class Isotropy:
    """Spectra that a common rotation of lattice and spins leaves unchanged, on a lattice.

    In the basis of the direction of k, the direction perpendicular to it in the plane, and i times the normal of the
    plane, such a spectrum is a real symmetric matrix that depends on |k| alone: the fields are real, and a rotation
    by pi maps k to -k. It is tabulated at multiples of the smallest wave number of the longer side and interpolated
    linearly.

    Args:
        shape: rows and columns of the lattice.

    Attributes:
        wave_numbers: |k| of the table, in radians per site.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        ky, kx = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(sites) for sites in shape), indexing="ij")
        k, step = np.hypot(ky, kx), 2 * np.pi / max(shape)
        direction = np.arctan2(ky, kx)
        self._frame = np.zeros((*shape, 3, 3), np.complex64)
        self._frame[..., 0, 0] = self._frame[..., 1, 1] = np.cos(direction)
        self._frame[..., 0, 1] = np.sin(direction)
        self._frame[..., 1, 0] = -np.sin(direction)
        self._frame[..., 2, 2] = 1j
        self._below = (k / step).astype(np.int64)
        self._part = (k / step - self._below).astype(np.float32)[..., None, None]
        self.wave_numbers = step * np.arange(self._below.max() + 2)
        self._counts = np.maximum(self._sums(np.ones((*shape, 1, 1))), 1e-6)

    def table(self, spectrum_YXCC: Spectrum) -> npt.NDArray[np.float32]:
        """Return the average of a spectrum over all directions of k, (wave numbers, 3, 3), in the basis above."""
        turned = self._frame @ spectrum_YXCC @ self._frame.conj().swapaxes(-1, -2)
        real = (turned.real + turned.real.swapaxes(-1, -2)) / 2
        table = (self._sums(real) / self._counts).astype(np.float32)
        # The uniform wave has no direction: both components in the plane are alike, and tied to nothing.
        in_plane = (table[0, 0, 0] + table[0, 1, 1]) / 2
        table[0] = np.diag([in_plane, in_plane, table[0, 2, 2]])
        return table

    def spread(self, table: npt.NDArray[np.float32]) -> Spectrum:
        """Return the spectrum (Y, X, 3, 3) of a table (wave numbers, 3, 3)."""
        real = table[self._below] * (1 - self._part) + table[self._below + 1] * self._part
        spectrum_YXCC: Spectrum = self._frame.conj().swapaxes(-1, -2) @ real @ self._frame
        return spectrum_YXCC

    def _sums(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Distribute values (Y, X, ...) to the two neighboring entries of the table, by linear weights."""
        below, part, length = self._below.ravel(), self._part.ravel(), len(self.wave_numbers)
        columns = values.reshape(below.size, -1).T
        sums = [
            np.bincount(below, column * (1 - part), length) + np.bincount(below + 1, column * part, length)
            for column in columns
        ]
        return np.stack(sums, axis=-1).reshape(length, *values.shape[2:])
