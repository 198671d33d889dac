"""The dipole interaction of a periodic square lattice in Fourier space, summed over all images by Ewald's method."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# The splitting parameter a = sqrt(pi) balances the real and reciprocal sums; beyond 4 cells, both are below 1e-17.
_SPLITTING = math.sqrt(math.pi)
_CELLS = 5

# The spectrum is rounded to multiples of 2^-24, below the rounding of float32 fields, so that the last bits of the
# math library, which differ between CPUs, don't affect samples.
_GRID = 2.0**24


@functools.lru_cache(maxsize=8)
def dipole_spectrum(rows: int, columns: int) -> Array:
    """Return T_ab(k) = sum over r != 0 of T_ab(r) cos(k . r), for T_ab(r) = delta_ab / r^3 - 3 r_a r_b / r^5.

    The sum runs over all sites of an infinite lattice of spacing 1. It is the interaction of a torus with all its
    images, and converges absolutely in two dimensions, so there is no surface term. The energy is
    dipole / 2 sum_k S_a(k)* T_ab(k) S_b(k) / (rows columns), which counts every pair once; the field is
    -dipole T(k) S(k).

    Args:
        rows: period along y.
        columns: period along x.

    Returns:
        (4, columns, rows // 2 + 1): xx, xy, yy and zz (xz and yz vanish in a plane) at k_x = 2 pi m / columns and
            k_y = 2 pi n / rows, in the order of `numpy.fft.rfft2` for an array [x, y].
    """
    kx = 2 * np.pi * np.fft.fftfreq(columns)[:, None]
    ky = 2 * np.pi * np.fft.rfftfreq(rows)[None, :]
    cells = range(-_CELLS, _CELLS + 1)
    spectrum = np.zeros((4, columns, rows // 2 + 1))
    for m in cells:
        for n in cells:
            spectrum += _reciprocal(kx + 2 * np.pi * m, ky + 2 * np.pi * n)
            if m or n:
                phase = np.cos(kx * m + ky * n)
                spectrum += _direct(m, n)[:, None, None] * phase
    spectrum -= np.array([1, 0, 1, 1])[:, None, None] * 4 * _SPLITTING**3 / (3 * math.sqrt(math.pi))
    spectrum = np.round(spectrum * _GRID) / _GRID
    spectrum.flags.writeable = False
    return spectrum


def dipole_field(spins: npt.NDArray[np.floating]) -> Array:
    """Return minus the sum over j of T(r_ij) S_j, the field of a dipole term of strength 1, in float64.

    Args:
        spins: (rows, columns, 3).
    """
    rows, columns, _ = spins.shape
    xx, xy, yy, zz = dipole_spectrum(rows, columns)
    x, y, z = np.fft.rfft2(spins.T.astype(np.float64))
    field_k = np.stack([xx * x + xy * y, xy * x + yy * y, zz * z])
    return -np.fft.irfft2(field_k, s=(columns, rows)).T


def _reciprocal(qx: npt.NDArray[np.floating], qy: npt.NDArray[np.floating]) -> Array:
    """Return the smooth part of the spectrum at q = k + G: xx, xy, yy, zz."""
    a = _SPLITTING
    q = np.hypot(qx, qy)
    decay = 2 * np.pi * _erfc(q / (2 * a))
    over_q = decay / np.where(q == 0, 1, q)
    zz = 4 * math.sqrt(math.pi) * a * np.exp(-((q / (2 * a)) ** 2)) - decay * q
    return np.stack([qx * qx * over_q, qx * qy * over_q, qy * qy * over_q, zz])


def _direct(x: int, y: int) -> Array:
    """Return the short-ranged part of T(r): xx, xy, yy, zz."""
    a, r = _SPLITTING, math.hypot(x, y)
    screened = math.erfc(a * r) / r**3
    gauss = 2 * a / math.sqrt(math.pi) * math.exp(-((a * r) ** 2)) / r**2
    b = screened + gauss
    c = (3 * screened + gauss * (2 * (a * r) ** 2 + 3)) / r**2
    return np.array([b - c * x * x, -c * x * y, b - c * y * y, b])


def _erfc(values: npt.NDArray[np.floating]) -> Array:
    erfc: Array = np.vectorize(math.erfc, otypes=[float])(values)
    return erfc
