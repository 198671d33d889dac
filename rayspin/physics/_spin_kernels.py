"""Updates of one spin in its field h, in float32: the arithmetic of the sweeps, the same on CPUs and GPUs.

Every compiler must round each operation separately: a product that is added to is written as `fma`, or as `times` if it
is rounded first.
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._elementary_kernels import SIGN, minus_log2_one_minus, one_minus_exp2
from rayspin.physics._numba import floor, fma, from_bits, inlined, sqrt, times, to_bits

TINY = np.float32(1e-15)
"""Gives a direction to a field that is exactly zero. It is far below the rounding of other fields, and its square is
far above underflow."""

_ONE, _TWO = np.float32(1), np.float32(2)


@inlined
def square_of(x, y, z):
    """Return x^2 + y^2 + z^2."""
    return fma(x, x, fma(y, y, z * z))


@inlined
def reciprocals_of(square, hz):
    """Return 1 / (h + |h_z|) and 1 / h of a field with h^2 = square, the arguments of `drawn`."""
    h = sqrt(square)
    apart = h + abs(hz)
    inverse = _ONE / (h * apart)
    return inverse * h, inverse * apart


@inlined
def drawn(hx, hy, hz, inverse, reciprocal, exponential, cosine, sine, unit):
    """Return a spin drawn with density proportional to exp(beta h . S) (method: `_sweep_kernels._heat_bath`).

    Args:
        hx: x component of the field.
        hy: y component of the field.
        hz: z component of the field.
        inverse: 1 / (h + |h_z|).
        reciprocal: 1 / h.
        exponential: exponential variable with mean 1 / ln 2.
        cosine: twice the cosine of a uniform angle.
        sine: twice the sine of the same angle.
        unit: ln 2 / (2 beta).
    """
    turns = times(exponential, reciprocal * unit)
    return tilted(turns - floor(turns), cosine, sine, hx, hy, hz, inverse, reciprocal)


@inlined
def drawn_in_weak_field(hx, hy, hz, exponential, cosine, sine, unit):
    """Return a spin drawn by inversion of the distribution, which is accurate for weak or zero fields.

    The arguments are those of `drawn` without the reciprocals.
    """
    hz += TINY
    square = square_of(hx, hy, hz)
    inverse, reciprocal = reciprocals_of(square, hz)
    part = times(one_minus_exp2(-exponential), one_minus_exp2(-sqrt(square) / unit))
    w = min(minus_log2_one_minus(part) * (reciprocal * unit), _ONE)
    return tilted(w, cosine, sine, hx, hy, hz, inverse, reciprocal)


@inlined
def tilted(w, cosine, sine, hx, hy, hz, inverse, reciprocal):
    """Return the unit vector at (1 - cos) / 2 = w from a vector h, with the given azimuth.

    It is constructed around the z axis and mapped onto h by the reflection that exchanges h and the axis, taken with
    the sign of h_z. This is cheaper than a rotation, and the azimuth is uniform in any case.

    Args:
        w: 0 to 1.
        cosine: twice the cosine of the azimuth.
        sine: twice the sine of the azimuth.
        hx: x component of h, which may have any length.
        hy: y component of h.
        hz: z component of h.
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
    """Return the spin reflected about its field, S' = 2 (S . h) h / h^2 - S, which conserves the energy."""
    sx, sy, sz = spin
    hx, hy, hz = field
    hz += TINY
    twice = _TWO * fma(sx, hx, fma(sy, hy, sz * hz)) / square_of(hx, hy, hz)
    return fma(twice, hx, -sx), fma(twice, hy, -sy), fma(twice, hz, -sz)


@inlined
def aligned(sx, sy, sz, hx, hy, hz, overshoot):
    """Return the spin turned along its field and beyond (`_sweep_kernels._align`), and |S x h|^2 before the turn."""
    hz += TINY
    tx, ty, tz = fma(sy, hz, -(sz * hy)), fma(sz, hx, -(sx * hz)), fma(sx, hy, -(sy * hx))
    torque = square_of(tx, ty, tz)
    reciprocal = _ONE / sqrt(square_of(hx, hy, hz))
    nx, ny, nz = times(hx, reciprocal), times(hy, reciprocal), times(hz, reciprocal)
    nx, ny, nz = fma(overshoot, nx - sx, nx), fma(overshoot, ny - sy, ny), fma(overshoot, nz - sz, nz)
    reciprocal = _ONE / sqrt(square_of(nx, ny, nz))
    return nx * reciprocal, ny * reciprocal, nz * reciprocal, torque
