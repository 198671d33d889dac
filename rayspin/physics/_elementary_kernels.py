"""Compiled elementary functions and random numbers in float32, the same bits on every CPU and at any vector width.

The functions are polynomials on reduced arguments (minimax fits, relative error under 2e-7): the maths library's are
scalar here, and differ between CPUs. Every product that is added to is fused, so that nothing is left to the compiler.
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._numba import fma, from_bits, inlined, to_bits

_ONE = np.float32(1)
_TO_UNIT = np.float32(2.0**-24)
_TO_TURN = np.float32(2.0**-32)
_EXPONENT = np.int32(-(2**23))
_ONE_BITS = np.int32(0x3F800000)
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_ROUNDER = np.float32(1.5 * 2.0**23)  # adding it rounds to a whole number and leaves that in the low bits


@inlined
def one_minus_exp2(x):
    """1 - 2^x for x <= 0, accurate relative to itself."""
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
    """-log2(1 - p) for 0 <= p < 1, accurate relative to itself."""
    exponent = np.int32(np.int32(to_bits(_ONE - p) - _SQRT_HALF_BITS) & _EXPONENT)
    scale = from_bits(np.int32(_ONE_BITS - exponent))
    f = fma(-p, scale, scale - _ONE)  # (1 - p) scale - 1: exact before its one rounding
    r = fma(np.float32(-0.14581169188022614), f, np.float32(0.2340424358844757))
    r = fma(r, f, np.float32(-0.2488768845796585))
    r = fma(r, f, np.float32(0.2870987057685852))
    r = fma(r, f, np.float32(-0.3602396249771118))
    r = fma(r, f, np.float32(0.48092323541641235))
    r = fma(r, f, np.float32(-0.7213528156280518))
    r = fma(r, f, np.float32(1.442694902420044))
    return fma(-r, f, -np.float32(np.int32(exponent >> 23)))


@inlined
def cos_sin_turn(half_turn):
    """The cosine and sine of 2 pi t, |t| <= 1/2, from those of the half angle, which need no reduction."""
    square = half_turn * half_turn
    s = fma(np.float32(0.0772201269865036), square, np.float32(-0.5980451703071594))
    s = fma(s, square, np.float32(2.5500314235687256))
    s = fma(s, square, np.float32(-5.1677069664001465))
    s = fma(s, square, np.float32(3.141592502593994)) * half_turn
    c = fma(np.float32(0.2196968048810959), square, np.float32(-1.3318802118301392))
    c = fma(c, square, np.float32(4.058412075042725))
    c = fma(c, square, np.float32(-4.934792995452881))
    c = fma(c, square, _ONE)
    twice = s + s
    return fma(-twice, s, _ONE), twice * c


@inlined
def two_uniforms(a, b, c, d):
    """Uniforms in [0, 1) and [-1/2, 1/2), and the next state: two steps of xoshiro128+ (Blackman, Vigna)."""
    first = np.uint32(a + d)
    a, b, c, d = _xoshiro128(a, b, c, d)
    second = np.uint32(a + d)
    a, b, c, d = _xoshiro128(a, b, c, d)
    return np.float32(np.int32(first >> 8)) * _TO_UNIT, np.float32(np.int32(second)) * _TO_TURN, a, b, c, d


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
