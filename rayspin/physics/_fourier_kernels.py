"""Compiled Fourier transforms of many sequences at once; the vector lanes hold sequences, so every step vectorizes.

Complex arrays are pairs of flat float32 arrays (real, imaginary); the elements of a sequence are `width` apart.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from rayspin.physics._numba import fma, inlined, kernel, load, restrict, store

# pi in units of 2^-100, as an integer.
_PI = 0x3243F6A8885A308D313198A2E0  # source: OEIS A062964
_UNIT = 2**100


@functools.lru_cache(maxsize=32)
def twiddles(length: int) -> tuple[Any, Any, Any]:
    """Return the factors of a length (as many 4s as possible, then primes), and cos and -sin of 2 pi j / length."""
    factors, rest = [], length
    for factor in (4, *range(2, length + 1)):
        while rest % factor == 0:
            factors.append(factor)
            rest //= factor
    cosines, sines = np.array([_cos_sin(j, length) for j in range(length)], np.float32).T.copy()
    return np.array(factors, np.int64), cosines, -sines


def _cos_sin(turns: int, length: int) -> tuple[float, float]:
    """Return cos and sin of 2 pi turns / length from integer power series, because libraries differ between CPUs."""
    angle = 2 * _PI * turns // length
    sums, term = [0, 0], _UNIT
    for n in range(1, 60):
        sums[(n - 1) % 2] += term if (n - 1) % 4 < 2 else -term
        term = term * angle // _UNIT // n
    return sums[0] / _UNIT, sums[1] / _UNIT


@kernel
def fourier(xr, xi, yr, yi, width, factors, cosines, sines):
    """Transform `width` sequences, X_j = sum_k x_k exp(-2 pi i j k / n), unnormalized (Stockham's algorithm).

    With real and imaginary parts exchanged in input and output, it is the inverse transform times n.

    Args:
        xr: real part of the input, a pointer to n * width numbers; overwritten.
        xi: imaginary part of the input; overwritten.
        yr: scratch of the same size.
        yi: scratch of the same size.
        width: number of sequences; fastest if a multiple of the vector length.
        factors: factors of n, from `twiddles`.
        cosines: cosines of the same `twiddles`.
        sines: sines of the same `twiddles`.

    Returns:
        (real, imaginary): pointers to the result, x or y.
    """
    n = cosines.size
    length, block = n, width
    for factor in factors:
        length //= factor
        if factor == 4:
            _radix4(xr, xi, yr, yi, length, block, cosines, sines)
        else:
            _radix(xr, xi, yr, yi, factor, length, block, cosines, sines)
        xr, xi, yr, yi = yr, yi, xr, xi
        block *= factor
    return xr, xi


@kernel
def _radix4(xr, xi, yr, yi, length, block, cosines, sines):
    restrict()
    step = cosines.size // (4 * length)
    for q in range(length):
        c1, s1 = cosines[q * step], sines[q * step]
        c2, s2 = cosines[2 * q * step], sines[2 * q * step]
        c3, s3 = cosines[3 * q * step], sines[3 * q * step]
        a, b, c, d = q * block, (q + length) * block, (q + 2 * length) * block, (q + 3 * length) * block
        out = 4 * q * block
        for k in range(block):
            ar, br, cr, dr = load(xr, a + k), load(xr, b + k), load(xr, c + k), load(xr, d + k)
            ai, bi, ci, di = load(xi, a + k), load(xi, b + k), load(xi, c + k), load(xi, d + k)
            ar, ai, br, bi, cr, ci, dr, di = butterfly(ar, ai, br, bi, cr, ci, dr, di, c1, s1, c2, s2, c3, s3)
            store(yr, out + k, ar)
            store(yi, out + k, ai)
            store(yr, out + block + k, br)
            store(yi, out + block + k, bi)
            store(yr, out + 2 * block + k, cr)
            store(yi, out + 2 * block + k, ci)
            store(yr, out + 3 * block + k, dr)
            store(yi, out + 3 * block + k, di)


@inlined
def butterfly(ar, ai, br, bi, cr, ci, dr, di, c1, s1, c2, s2, c3, s3):
    """Return the four outputs of a radix-4 step, the last three rotated by the angles with these cosines and sines."""
    even_r, even_i, odd_r, odd_i = ar + cr, ai + ci, br + dr, bi + di
    left_r, left_i, turn_r, turn_i = ar - cr, ai - ci, bi - di, dr - br  # turn = -i (b - d)
    br, bi = left_r + turn_r, left_i + turn_i
    cr, ci = even_r - odd_r, even_i - odd_i
    dr, di = left_r - turn_r, left_i - turn_i
    return (
        even_r + odd_r,
        even_i + odd_i,
        fma(br, c1, -(bi * s1)),
        fma(br, s1, bi * c1),
        fma(cr, c2, -(ci * s2)),
        fma(cr, s2, ci * c2),
        fma(dr, c3, -(di * s3)),
        fma(dr, s3, di * c3),
    )


@kernel
def _radix(xr, xi, yr, yi, factor, length, block, cosines, sines):
    restrict()
    n = cosines.size
    step = n // (factor * length)
    for q in range(length):
        for j in range(factor):
            out = (factor * q + j) * block
            for k in range(block):
                store(yr, out + k, np.float32(0))
                store(yi, out + k, np.float32(0))
            for m in range(factor):
                turn = (m * j * (n // factor) + j * q * step) % n
                c, s = cosines[turn], sines[turn]
                source = (q + m * length) * block
                for k in range(block):
                    r, i = load(xr, source + k), load(xi, source + k)
                    r, i = accumulated(r, i, c, s, load(yr, out + k), load(yi, out + k))
                    store(yr, out + k, r)
                    store(yi, out + k, i)


@inlined
def accumulated(r, i, c, s, sum_r, sum_i):
    """Return a complex sum plus the number (r, i) rotated by the angle with cosine c and sine s."""
    return fma(r, c, fma(-i, s, sum_r)), fma(r, s, fma(i, c, sum_i))
