"""What a move makes of one spin in its field h, in float32: the arithmetic of the sweeps, on CPUs and GPUs the same.

Whatever compiles it must round each operation by itself: a product that is added to is written `fma`, or `times` where
it is to be rounded first.
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._elementary_kernels import SIGN, minus_log2_one_minus, one_minus_exp2
from rayspin.physics._numba import floor, fma, from_bits, inlined, sqrt, times, to_bits

TINY = np.float32(1e-15)
"""Gives a direction to a field that vanishes exactly: far below the rounding of any other, far above underflow of its
square."""

_ONE, _TWO = np.float32(1), np.float32(2)


@inlined
def square_of(x, y, z):
    """x^2 + y^2 + z^2."""
    return fma(x, x, fma(y, y, z * z))


@inlined
def reciprocals_of(square, hz):
    """1 / (h + |h_z|) and 1 / h of a field, h^2 = square: what `drawn` takes."""
    h = sqrt(square)
    apart = h + abs(hz)
    inverse = _ONE / (h * apart)
    return inverse * h, inverse * apart


@inlined
def drawn(hx, hy, hz, inverse, reciprocal, exponential, cosine, sine, unit):
    """A spin drawn with density proportional to exp(beta h . S) (method: `_sweep_kernels._heat_bath`).

    Args:
        hx: field.
        hy: likewise.
        hz: likewise.
        inverse: 1 / (h + |h_z|).
        reciprocal: 1 / h.
        exponential: an exponential variable with mean 1 / ln 2.
        cosine: twice that of a uniform angle.
        sine: likewise.
        unit: ln 2 / (2 beta).
    """
    turns = times(exponential, reciprocal * unit)
    return tilted(turns - floor(turns), cosine, sine, hx, hy, hz, inverse, reciprocal)


@inlined
def drawn_in_weak_field(hx, hy, hz, exponential, cosine, sine, unit):
    """The same by inversion of the distribution, for fields so weak, or zero, that rounding would show in `drawn`."""
    hz += TINY
    square = square_of(hx, hy, hz)
    inverse, reciprocal = reciprocals_of(square, hz)
    part = times(one_minus_exp2(-exponential), one_minus_exp2(-sqrt(square) / unit))
    w = min(minus_log2_one_minus(part) * (reciprocal * unit), _ONE)
    return tilted(w, cosine, sine, hx, hy, hz, inverse, reciprocal)


@inlined
def tilted(w, cosine, sine, hx, hy, hz, inverse, reciprocal):
    """The unit vector at (1 - cos) / 2 = w from a vector h, around it as twice cosine and sine say.

    It is drawn around the z axis and carried onto h by the reflection that exchanges the axis, taken with the sign of
    h_z, and h: that is cheaper than a rotation, and the azimuth is uniform anyway.

    Args:
        w: 0 to 1.
        cosine: twice that of the azimuth.
        sine: likewise.
        hx: h, of any length.
        hy: likewise.
        hz: likewise.
        inverse: 1 / (h + |h_z|).
        reciprocal: 1 / h.
    """
    across = sqrt(fma(-w, w, w))
    vx, vy = across * cosine, across * sine
    tilt = times(fma(vx, hx, vy * hy), inverse)
    along = (tilt + fma(-_TWO, w, _ONE)) * reciprocal
    upward = from_bits(np.int32(to_bits(tilt) ^ np.int32(to_bits(hz) & SIGN)))
    return fma(along, hx, -vx), fma(along, hy, -vy), fma(along, hz, upward)


@inlined
def reflected(spin, field):
    """The spin reflected about its field, S' = 2 (S . h) h / h^2 - S: the energy stays."""
    sx, sy, sz = spin
    hx, hy, hz = field
    hz += TINY
    twice = _TWO * fma(sx, hx, fma(sy, hy, sz * hz)) / square_of(hx, hy, hz)
    return fma(twice, hx, -sx), fma(twice, hy, -sy), fma(twice, hz, -sz)


@inlined
def aligned(sx, sy, sz, hx, hy, hz, overshoot):
    """The spin turned along its field and beyond (`_sweep_kernels._align`), and |S x h|^2 as it was before."""
    hz += TINY
    tx, ty, tz = fma(sy, hz, -(sz * hy)), fma(sz, hx, -(sx * hz)), fma(sx, hy, -(sy * hx))
    torque = square_of(tx, ty, tz)
    reciprocal = _ONE / sqrt(square_of(hx, hy, hz))
    nx, ny, nz = times(hx, reciprocal), times(hy, reciprocal), times(hz, reciprocal)
    nx, ny, nz = fma(overshoot, nx - sx, nx), fma(overshoot, ny - sy, ny), fma(overshoot, nz - sz, nz)
    reciprocal = _ONE / sqrt(square_of(nx, ny, nz))
    return nx * reciprocal, ny * reciprocal, nz * reciprocal, torque
