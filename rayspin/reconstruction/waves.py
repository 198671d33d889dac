"""Fine waves by the coarse wave into which they fold: waves that are equal modulo the coarse lattice.

Spectra are in the order of `numpy.fft.fft2`. Of a fine axis with scale * n waves, the waves q, q + n, q + 2 n, ... fold
into the coarse wave q; they are column q of the axis written as (scale, n).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Waves = npt.NDArray[np.complexfloating]
Maps = npt.NDArray[np.floating]

# Largest factor by which an inverse may amplify a wave. Beyond it, the rounding of float32 exceeds what it restores.
_LARGEST_GAIN = 1000

# The observations distinguish a wave from longer ones if the part of its factors that is perpendicular to theirs
# has at least this share of the length.
_LEAST_SHARE = 0.1


def folded_axes(waves_YX: npt.NDArray[Any], scale: int) -> npt.NDArray[Any]:
    """Return a view of waves (..., Y, X) as (..., scale, Y / scale, scale, X / scale)."""
    *rest, rows, columns = waves_YX.shape
    return waves_YX.reshape(*rest, scale, rows // scale, scale, columns // scale)


def filtered(coarse_KYX: Maps, gain_KYX: Waves, scale: int) -> Maps:
    """Return the fine maps (..., Y, X) whose waves are the sum over k of a gain times the wave of observation k.

    Args:
        coarse_KYX: coarse maps (..., K, Y / scale, X / scale).
        gain_KYX: gain of each fine wave, (K, Y, X).
        scale: fine sites per coarse pixel along each axis.
    """
    waves = np.fft.fft2(coarse_KYX)[..., :, None, :, None, :]
    fine = np.einsum("...kaybx,kaybx->...aybx", waves, folded_axes(gain_KYX, scale))
    return np.fft.ifft2(fine.reshape(*coarse_KYX.shape[:-3], *gain_KYX.shape[-2:])).real


def smoothed(maps_YX: Maps, width: float) -> Maps:
    """Return periodic maps (..., Y, X) averaged by a Gaussian of this standard deviation, sites."""
    rows, columns = maps_YX.shape[-2:]
    ky, kx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)
    window = np.exp(-2 * (np.pi * width) ** 2 * (ky**2 + kx**2))
    return np.fft.irfft2(np.fft.rfft2(maps_YX) * window, s=(rows, columns))


def band_limited_inverse(transfer_KYX: Waves, scale: int) -> Waves | None:
    """Return the gain of the longest waves that invert a degradation, (K, Y, X), or None if there are none.

    For each coarse wave, the waves that fold into it are taken from long to short, leaving out those that the
    observations don't distinguish from the ones before, until there are as many as observations. If there are fewer,
    the gain is their least squares fit to all observations.

    Args:
        transfer_KYX: factor of each fine wave in each observation; see `Operator.transfer`.
        scale: fine sites per coarse pixel along each axis.
    """
    count, rows, columns = transfer_KYX.shape
    factors = _grouped(np.moveaxis(transfer_KYX, 0, -1), scale)
    order = np.argsort(_grouped(_lengths(rows, columns), scale), axis=-1, kind="stable")
    chosen, found = _longest_independent(np.take_along_axis(factors, order[..., None], axis=2), scale)
    if not found.all():
        return None
    chosen = np.take_along_axis(order, chosen, axis=-1)
    used = np.arange(count) < found[..., None]
    inverse = np.linalg.pinv(
        (np.take_along_axis(factors, chosen[..., None], axis=2) * used[..., None]).swapaxes(-1, -2)
    )
    gain = np.zeros_like(factors)
    y, x = np.indices(found.shape)
    for k in range(count):
        gain[y, x, chosen[..., k]] += inverse[..., k, :]
    fine = gain.reshape(rows // scale, columns // scale, scale, scale, count).transpose(4, 2, 0, 3, 1)
    return np.ascontiguousarray(fine.reshape(count, rows, columns))


def _longest_independent(factors: Waves, scale: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the first K of the vectors (y, x, waves, K) that are independent, (y, x, K), and how many there are."""
    rows, columns, waves, count = factors.shape
    basis = np.zeros((rows, columns, count, count), factors.dtype)
    chosen, found = np.zeros((rows, columns, count), np.intp), np.zeros((rows, columns), np.intp)
    for wave in range(waves):
        vector = factors[:, :, wave]
        along = (basis.conj() @ vector[..., None])[..., 0]
        rest = vector - (along[..., None] * basis).sum(axis=-2)
        length = np.linalg.norm(rest, axis=-1)
        least = np.maximum(_LEAST_SHARE * np.linalg.norm(vector, axis=-1), 1 / (_LARGEST_GAIN * scale**2))
        y, x = np.nonzero((length > least) & (found < count))
        basis[y, x, found[y, x]] = rest[y, x] / length[y, x, None]
        chosen[y, x, found[y, x]] = wave
        found[y, x] += 1
        if (found == count).all():
            break
    return chosen, found


def _grouped(values_YX: npt.NDArray[Any], scale: int) -> npt.NDArray[Any]:
    """Return values of fine waves (Y, X, ...) by coarse wave, (Y / scale, X / scale, scale^2, ...)."""
    rows, columns, *rest = values_YX.shape
    split = values_YX.reshape(scale, rows // scale, scale, columns // scale, *rest)
    return split.transpose(1, 3, 0, 2, *range(4, split.ndim)).reshape(rows // scale, columns // scale, scale**2, *rest)


def _lengths(rows: int, columns: int) -> Maps:
    """Return k^2 of each wave, rounded so that waves of equal length compare as equal."""
    ky, kx = np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)
    return np.round(ky**2 + kx**2, 12)
