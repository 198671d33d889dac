"""Compiled elementary functions and random numbers in float32, with the same bits on every CPU and at any vector width.

The functions are polynomials of reduced arguments (minimax fits, relative error under 2e-7), because those of the math
library are scalar in this context and differ between CPUs. Every product that is added to is fused, so the compiler has
no choice in the rounding.
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._numba import fma, from_bits, inlined, to_bits

_ONE = np.float32(1)
_TO_UNIT = np.float32(2.0**-24)
SIGN = np.int32(-(2**31))
_MANTISSA = np.int32(2**23 - 1)
_EXPONENT_BITS = np.int32(0x7F800000)
_EXPONENT = np.int32(-(2**23))
_LOG_CENTER = np.float32(1.4999984502792358)
_LOG_AT_CENTER = np.float32(157.4150390625)  # 158 - log2(center), 158 = 31 + 127; rounded so that no result is < 0
_ONE_BITS = np.int32(0x3F800000)
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_ROUNDER = np.float32(1.5 * 2.0**23)  # adding it rounds to an integer, which is then in the low bits


@inlined
def one_minus_exp2(x):
    """Return 1 - 2^x for x <= 0, with a small relative error."""
    x = max(x, np.float32(-126))
    shifted = x + _ROUNDER
    f = x - (shifted - _ROUNDER)
    scale = from_bits(np.int32((to_bits(shifted) << 23) + _ONE_BITS))
    q = fma(np.float32(0.00015403512225020677), f, np.float32(0.0013390735257416964))
    q = fma(q, f, np.float32(0.009618237614631653))
    q = fma(q, f, np.float32(0.05550357326865196))
    q = fma(q, f, np.float32(0.24022649228572845))
    q = fma(q, f, np.float32(0.6931471824645996))
    return fma(-scale, q * f, _ONE - scale)


@inlined
def minus_log2_one_minus(p):
    """Return -log2(1 - p) for 0 <= p < 1, with a small relative error."""
    exponent = np.int32(np.int32(to_bits(_ONE - p) - _SQRT_HALF_BITS) & _EXPONENT)
    scale = from_bits(np.int32(_ONE_BITS - exponent))
    f = fma(-p, scale, scale - _ONE)  # (1 - p) scale - 1, rounded once
    r = fma(np.float32(-0.14581169188022614), f, np.float32(0.2340424358844757))
    r = fma(r, f, np.float32(-0.2488768845796585))
    r = fma(r, f, np.float32(0.2870987057685852))
    r = fma(r, f, np.float32(-0.3602396249771118))
    r = fma(r, f, np.float32(0.48092323541641235))
    r = fma(r, f, np.float32(-0.7213528156280518))
    r = fma(r, f, np.float32(1.442694902420044))
    return fma(-r, f, -np.float32(np.int32(exponent >> 23)))


@inlined
def exponential(word):
    """Return -log2 of a uniform number in (0, 1) from 32 random bits: exponential with mean 1 / ln 2, from 0 to 31.

    The uniform number is |word| / 2^31 with an odd word. Its logarithm is a polynomial (error 1e-7) of the mantissa
    plus the exponent.
    """
    bits = to_bits(np.float32(np.int32(word | np.int32(1))))
    f = from_bits(np.int32(np.int32(bits & _MANTISSA) | _ONE_BITS)) - _LOG_CENTER
    whole = fma(np.float32(np.int32(bits & _EXPONENT_BITS)), np.float32(-(2.0**-23)), _LOG_AT_CENTER)
    r = fma(np.float32(0.009040969423949718), f, np.float32(-0.014749896712601185))
    r = fma(r, f, np.float32(0.020609458908438683))
    r = fma(r, f, np.float32(-0.037476882338523865))
    r = fma(r, f, np.float32(0.0712934136390686))
    r = fma(r, f, np.float32(-0.14252489805221558))
    r = fma(r, f, np.float32(0.3205980956554413))
    r = fma(r, f, np.float32(-0.9617971181869507))
    return fma(r, f, whole)


@inlined
def circle(word):
    """Return twice the cosine and sine of a uniform angle from 24 of 32 random bits.

    Of the bits, 23 choose an angle on the right half of the circle, and one chooses the half.
    """
    g = from_bits(np.int32(np.int32(word & _MANTISSA) | _ONE_BITS)) - np.float32(1.5)
    square = g * g
    s = fma(np.float32(0.15938928723335266), square, np.float32(-1.1987340450286865))
    s = fma(s, square, np.float32(5.100518226623535))
    s = fma(s, square, np.float32(-10.335440635681152))
    s = fma(s, square, np.float32(6.2831854820251465)) * g
    c = fma(np.float32(0.43766099214553833), square, np.float32(-2.662982940673828))
    c = fma(c, square, np.float32(8.116717338562012))
    c = fma(c, square, np.float32(-9.86958122253418))
    c = fma(c, square, np.float32(1.9999998807907104))
    return from_bits(np.int32(to_bits(c) ^ np.int32(word & SIGN))), s


@inlined
def uniform(word):
    """Return a uniform number in [0, 1), a multiple of 2^-24, from 32 random bits."""
    return np.float32(np.int32(np.uint32(word) >> np.uint32(8))) * _TO_UNIT


@inlined
def two_words(a, b, c, d):
    """Return two random 32-bit words, as int32, and the next state: two steps of xoshiro128+ (Blackman, Vigna)."""
    first = np.uint32(a + d)
    a, b, c, d = _xoshiro128(a, b, c, d)
    second = np.uint32(a + d)
    a, b, c, d = _xoshiro128(a, b, c, d)
    return np.int32(first), np.int32(second), a, b, c, d


@inlined
def _xoshiro128(a, b, c, d):
    shifted = np.uint32(b << 9)
    c = np.uint32(c ^ a)
    d = np.uint32(d ^ b)
    b = np.uint32(b ^ c)
    a = np.uint32(a ^ d)
    c = np.uint32(c ^ shifted)
    d = np.uint32(np.uint32(d << 11) | np.uint32(d >> 21))
    return a, b, c, d
