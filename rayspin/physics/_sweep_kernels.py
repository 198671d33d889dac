"""Compiled Monte Carlo sweeps of a packed checkerboard of classical spins in float32.

Layout. The sites of one colour, (row + column + colour) even, interact with those of the other only, so a half-sweep
updates one colour in any order. Each colour keeps its three spin components in flat arrays; row y holds the sites
x = 2 k + p, p = (y + colour) % 2, at index START + y * stride + k. In the other colour the neighbours above and
below then have the same k, those to the left and right k - 1 + p and k + p: every neighbour is a contiguous load.
One column left and right of each row repeats the row's other end (periodic boundary). Rows are padded to whole
vectors of LANES; the padding is computed like the rest and never read.

The elementary functions are polynomials on reduced arguments (minimax fits, relative error under 2e-7), since the
maths library's are scalar here, and differ between CPUs.
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._numba import fma, from_bits, inlined, kernel, load, restrict, store, to_bits

LANES = 16
START = LANES

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_LN2 = np.float32(0.6931471805599453)
_TINY = np.float32(1e-15)  # far below the rounding of any field, far above underflow of its square
_TO_UNIT = np.float32(2.0**-24)
_TO_TURN = np.float32(2.0**-32)
_SIGN = np.int32(-(2**31))
_EXPONENT = np.int32(-(2**23))
_ONE_BITS = np.int32(0x3F800000)
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_ROUNDER = np.float32(1.5 * 2.0**23)  # adding it rounds to a whole number and leaves that in the low bits


@inlined
def _one_minus_exp2(x):
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
def _minus_log2_one_minus(p):
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
def _cos_sin_turn(half_turn):
    """The cosine and sine of 2 pi t, t in [-1/2, 1/2], from those of the half angle, which need no reduction."""
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
def _uniforms(a, b, c, d):
    """Two uniforms, in [0, 1) and [-1/2, 1/2), and the next state: two steps of xoshiro128+ (Blackman, Vigna 2018)."""
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


@inlined
def _drawn(hx, hy, hz, beta, uniform, turn):
    """A unit vector S drawn with density proportional to exp(beta h . S).

    The angle between S and h follows from inverting its distribution: 1 - cos = -ln(1 - u (1 - exp(-2 beta h))) /
    (beta h). The vector drawn around the z axis is then carried onto h by the reflection that exchanges the axis,
    taken with the sign of h_z, and h: it is cheaper than a rotation, and the azimuth is uniform in any case.
    """
    hz = hz + _TINY  # an exactly vanishing field has no direction; this gives it one
    h = np.sqrt(fma(hx, hx, fma(hy, hy, hz * hz)))
    apart = h + abs(hz)
    inverse = _ONE / (h * apart)
    reciprocal = inverse * apart
    p = uniform * _one_minus_exp2(h * (beta * np.float32(-2.8853900817779268)))
    w = min(_minus_log2_one_minus(p) * (_LN2 / beta) * reciprocal, _TWO)
    sine = np.sqrt(w * (_TWO - w))
    cos_azimuth, sin_azimuth = _cos_sin_turn(turn)
    vx, vy = sine * cos_azimuth, sine * sin_azimuth
    tilt = fma(vx, hx, vy * hy) * (inverse * h)
    along = (tilt + (_ONE - w)) * reciprocal
    upward = from_bits(np.int32(to_bits(tilt) ^ np.int32(to_bits(hz) & _SIGN)))
    return fma(along, hx, -vx), fma(along, hy, -vy), fma(along, hz, upward)


@inlined
def _field(x, y, z, left, right, down, up, exchange, dmi):
    """The field of the four neighbours, at these indices of the other colour's components."""
    lx, rx, dx, ux = load(x, left), load(x, right), load(x, down), load(x, up)
    ly, ry, dy, uy = load(y, left), load(y, right), load(y, down), load(y, up)
    lz, rz, dz, uz = load(z, left), load(z, right), load(z, down), load(z, up)
    hx = fma(dmi, rz - lz, exchange * ((lx + rx) + (dx + ux)))
    hy = fma(dmi, uz - dz, exchange * ((ly + ry) + (dy + uy)))
    hz = fma(-dmi, (rx - lx) + (uy - dy), exchange * ((lz + rz) + (dz + uz)))
    return hx, hy, hz


@inlined
def _place(row, colour, rows, columns, stride, periodic):
    """Of a row's sites of one colour: their number, their index, and the other colour's to the left, below, above.

    An open lattice has a row of zeros after its last.
    """
    parity = (row + colour) & 1
    count = (columns + 1 - parity) >> 1
    here = START + row * stride
    beyond = START + rows * stride
    below = here - stride if row > 0 else (beyond - stride if periodic else beyond)
    above = here + stride if row + 1 < rows else (START if periodic else beyond)
    return count, here, here - 1 + parity, below, above


@inlined
def _close_row(x, y, z, here, count, periodic):
    """Continues a row by one site at both ends: with its other end, or with nothing."""
    last = here + count - 1
    store(x, here - 1, load(x, last) if periodic else _ZERO)
    store(y, here - 1, load(y, last) if periodic else _ZERO)
    store(z, here - 1, load(z, last) if periodic else _ZERO)
    store(x, last + 1, load(x, here) if periodic else _ZERO)
    store(y, last + 1, load(y, here) if periodic else _ZERO)
    store(z, last + 1, load(z, here) if periodic else _ZERO)


@kernel
def _heat_bath(own_x, own_y, own_z, x, y, z, a, b, c, d, colour, lattice, couplings, beta):
    restrict()
    rows, columns, periodic = lattice
    exchange, dmi, ext_x, ext_y, ext_z = couplings
    padded = a.size
    for row in range(rows):
        count, here, left, below, above = _place(row, colour, rows, columns, padded + LANES, periodic)
        for k in range(padded):
            uniform, turn, na, nb, nc, nd = _uniforms(load(a, k), load(b, k), load(c, k), load(d, k))
            store(a, k, na)
            store(b, k, nb)
            store(c, k, nc)
            store(d, k, nd)
            hx, hy, hz = _field(x, y, z, left + k, left + 1 + k, below + k, above + k, exchange, dmi)
            sx, sy, sz = _drawn(hx + ext_x, hy + ext_y, hz + ext_z, beta, uniform, turn)
            store(own_x, here + k, sx)
            store(own_y, here + k, sy)
            store(own_z, here + k, sz)
        _close_row(own_x, own_y, own_z, here, count, periodic)


@kernel
def _over_relax(own_x, own_y, own_z, x, y, z, colour, lattice, padded, couplings):
    restrict()
    rows, columns, periodic = lattice
    exchange, dmi, ext_x, ext_y, ext_z = couplings
    for row in range(rows):
        count, here, left, below, above = _place(row, colour, rows, columns, padded + LANES, periodic)
        for k in range(padded):
            hx, hy, hz = _field(x, y, z, left + k, left + 1 + k, below + k, above + k, exchange, dmi)
            hx, hy, hz = hx + ext_x, hy + ext_y, hz + ext_z + _TINY
            sx, sy, sz = load(own_x, here + k), load(own_y, here + k), load(own_z, here + k)
            twice = _TWO * fma(sx, hx, fma(sy, hy, sz * hz)) / fma(hx, hx, fma(hy, hy, hz * hz))
            store(own_x, here + k, fma(twice, hx, -sx))
            store(own_y, here + k, fma(twice, hy, -sy))
            store(own_z, here + k, fma(twice, hz, -sz))
        _close_row(own_x, own_y, own_z, here, count, periodic)


@kernel
def _align(own_x, own_y, own_z, x, y, z, colour, lattice, padded, couplings):
    restrict()
    rows, columns, periodic = lattice
    exchange, dmi, ext_x, ext_y, ext_z = couplings
    largest = np.int32(0)
    for row in range(rows):
        count, here, left, below, above = _place(row, colour, rows, columns, padded + LANES, periodic)
        for k in range(padded):
            hx, hy, hz = _field(x, y, z, left + k, left + 1 + k, below + k, above + k, exchange, dmi)
            hx, hy, hz = hx + ext_x, hy + ext_y, hz + ext_z + _TINY
            sx, sy, sz = load(own_x, here + k), load(own_y, here + k), load(own_z, here + k)
            tx, ty, tz = fma(sy, hz, -(sz * hy)), fma(sz, hx, -(sx * hz)), fma(sx, hy, -(sy * hx))
            torque = fma(tx, tx, fma(ty, ty, tz * tz)) if k < count else _ZERO
            # Floats that are not negative order as their bits do; only a maximum of integers is vectorized.
            largest = max(largest, to_bits(torque))
            reciprocal = _ONE / np.sqrt(fma(hx, hx, fma(hy, hy, hz * hz)))
            store(own_x, here + k, hx * reciprocal)
            store(own_y, here + k, hy * reciprocal)
            store(own_z, here + k, hz * reciprocal)
        _close_row(own_x, own_y, own_z, here, count, periodic)
    return np.sqrt(from_bits(largest))


@kernel
def heat_bath_sweeps(spins, states, lattice, couplings, betas, over_relaxation):
    """For each inverse temperature in turn, one heat-bath update and `over_relaxation` reflections of every spin.

    Args:
        spins: (2, 3, n) float32: colour, component, packed site.
        states: (4, padded) uint32: the random streams, one for each packed column.
        lattice: rows, columns, and whether it is periodic.
        couplings: exchange, interfacial dmi, and the three components of the external field; float32.
        betas: (sweeps,) float32.
        over_relaxation: reflections S' = 2 (S . h) h / h^2 - S after each update; they keep the energy.
    """
    for beta in betas:
        for colour in range(2):
            own, other = spins[colour], spins[1 - colour]
            _heat_bath(
                own[0], own[1], own[2], other[0], other[1], other[2],
                states[0], states[1], states[2], states[3], colour, lattice, couplings, beta,
            )  # fmt: skip
        for half_sweep in range(2 * over_relaxation):
            colour = half_sweep & 1
            own, other = spins[colour], spins[1 - colour]
            _over_relax(
                own[0], own[1], own[2], other[0], other[1], other[2],
                colour, lattice, states.shape[1], couplings,
            )  # fmt: skip


@kernel
def quench_sweeps(spins, padded, lattice, couplings, sweeps, tolerance):
    """Sets every spin along its field, sweep by sweep, at most `sweeps` times: the heat bath at T = 0.

    Stops after a sweep in which no torque |S x h| that a spin had before its update exceeded the tolerance. Returns
    the number of sweeps done. Arguments as in `heat_bath_sweeps`.
    """
    for done in range(sweeps):
        largest = _ZERO
        for colour in range(2):
            own, other = spins[colour], spins[1 - colour]
            largest = max(
                largest,
                _align(
                    own[0], own[1], own[2], other[0], other[1], other[2], colour, lattice, padded, couplings
                ),
            )
        if largest <= tolerance:
            return done + 1
    return sweeps
