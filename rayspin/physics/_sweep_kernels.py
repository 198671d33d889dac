"""Compiled Monte Carlo sweeps of a packed checkerboard of classical spins in float32.

Layout. The sites of one colour, (row + column + colour) even, interact with those of the other only, so a
half-sweep updates one colour in any order. Each colour keeps its three spin components in flat arrays; row y
holds the sites x = 2 k + p, p = (y + colour) % 2, at index START + y * stride + k. In the other colour the
neighbours above and below then have the same k, those to the left and right k - 1 + p and k + p: every
neighbour is a contiguous load. One column left and right of each row repeats the row's other end (periodic
boundary). Rows are padded to whole vectors of LANES; the padding is computed like the rest and never read.

The elementary functions are polynomials on reduced arguments (minimax fits, relative error under 2e-7), since
the maths library's are scalar here, and differ between CPUs.
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._numba import fma, from_bits, inlined, kernel, load, restrict, start, store, to_bits

LANES = 16
START = LANES
BLOCK = 256  # sites per stage: enough to hide latencies, few enough for buffers to stay in the nearest cache

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


@inlined
def _local_field(x, y, z, site_x, site_y, site_z, at, left, below, above, exchange, dmi):
    """The field at a site: of its four neighbours, at these indices of the other colour, and its own."""
    right = left + 1
    lx, rx, bx, ax = load(x, left), load(x, right), load(x, below), load(x, above)
    ly, ry, by, ay = load(y, left), load(y, right), load(y, below), load(y, above)
    lz, rz, bz, az = load(z, left), load(z, right), load(z, below), load(z, above)
    hx = fma(exchange, (lx + rx) + (bx + ax), fma(dmi, rz - lz, load(site_x, at)))
    hy = fma(exchange, (ly + ry) + (by + ay), fma(dmi, az - bz, load(site_y, at)))
    hz = fma(exchange, (lz + rz) + (bz + az), fma(-dmi, (rx - lx) + (ay - by), load(site_z, at)))
    return hx, hy, hz + _TINY  # an exactly vanishing field has no direction; this gives it one


@inlined
def _place(row, colour, rows, columns, stride, periodic):
    """A row's sites of one colour: number and index; the index of their neighbours left, below and above.

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


@inlined
def _padded(lattice):
    """Sites of one colour in a row, up to whole vectors."""
    return -(-lattice[1] // (2 * LANES)) * LANES


@inlined
def _site_stride(spins, site, lattice):
    return _padded(lattice) + LANES if site.shape[2] == spins.shape[2] else 0


@kernel
def _heat_bath(own, other, site, site_stride, states, scratch, padded, colour, lattice, couplings, beta):
    """Draws every spin of a colour anew, with density proportional to exp(beta h . S), row by row.

    The angle between S and h follows from inverting its distribution, 1 - cos = -ln(1 - u (1 - exp(-2 beta h)))
    / (beta h). The vector drawn around the z axis is then carried onto h by the reflection that exchanges the
    axis, taken with the sign of h_z, and h: it is cheaper than a rotation, and the azimuth is uniform anyway.

    Three short loops with buffers in between, since one long chain of operations on few spins would wait on
    latencies: no CPU looks far enough ahead to overlap two turns of it.
    """
    restrict()
    rows, columns, periodic = lattice
    exchange, dmi = couplings
    own_x, own_y, own_z = own
    x, y, z = other
    site_x, site_y, site_z = site
    a, b, c, d = states
    uniforms, cosines, sines, lengths, fields_x, fields_y, fields_z = scratch
    block = max(1, BLOCK // padded)
    rate, unit = beta * np.float32(-2 / _LN2), _LN2 / beta
    for first in range(0, rows, block):
        last = min(first + block, rows)
        for k in range(block * padded):
            uniform, turn, na, nb, nc, nd = two_uniforms(load(a, k), load(b, k), load(c, k), load(d, k))
            store(a, k, na)
            store(b, k, nb)
            store(c, k, nc)
            store(d, k, nd)
            cosine, sine = cos_sin_turn(turn)
            store(uniforms, k, uniform)
            store(cosines, k, cosine)
            store(sines, k, sine)
        for row in range(first, last):
            _, _, left, below, above = _place(row, colour, rows, columns, padded + LANES, periodic)
            at, buffer = START + row * site_stride, (row - first) * padded
            for k in range(padded):
                hx, hy, hz = _local_field(
                    x, y, z, site_x, site_y, site_z, at + k, left + k, below + k, above + k, exchange, dmi
                )
                h = np.sqrt(fma(hx, hx, fma(hy, hy, hz * hz)))
                store(fields_x, buffer + k, hx)
                store(fields_y, buffer + k, hy)
                store(fields_z, buffer + k, hz)
                store(lengths, buffer + k, h)
                store(uniforms, buffer + k, load(uniforms, buffer + k) * _one_minus_exp2(h * rate))
        for row in range(first, last):
            count, here, _, _, _ = _place(row, colour, rows, columns, padded + LANES, periodic)
            buffer = (row - first) * padded
            for k in range(padded):
                hx, hy, hz = (
                    load(fields_x, buffer + k),
                    load(fields_y, buffer + k),
                    load(fields_z, buffer + k),
                )
                h = load(lengths, buffer + k)
                apart = h + abs(hz)
                inverse = _ONE / (h * apart)
                reciprocal = inverse * apart
                w = min(minus_log2_one_minus(load(uniforms, buffer + k)) * (reciprocal * unit), _TWO)
                across = np.sqrt(w * (_TWO - w))
                vx, vy = across * load(cosines, buffer + k), across * load(sines, buffer + k)
                tilt = fma(vx, hx, vy * hy) * (inverse * h)
                along = (tilt + (_ONE - w)) * reciprocal
                upward = from_bits(np.int32(to_bits(tilt) ^ np.int32(to_bits(hz) & _SIGN)))
                store(own_x, here + k, fma(along, hx, -vx))
                store(own_y, here + k, fma(along, hy, -vy))
                store(own_z, here + k, fma(along, hz, upward))
            _close_row(own_x, own_y, own_z, here, count, periodic)


@kernel
def _over_relax(own, other, site, site_stride, padded, colour, lattice, couplings):
    """Reflects every spin of a colour about its field, S' = 2 (S . h) h / h^2 - S: the energy stays."""
    restrict()
    rows, columns, periodic = lattice
    exchange, dmi = couplings
    own_x, own_y, own_z = own
    x, y, z = other
    site_x, site_y, site_z = site
    for row in range(rows):
        count, here, left, below, above = _place(row, colour, rows, columns, padded + LANES, periodic)
        at = START + row * site_stride
        for k in range(padded):
            hx, hy, hz = _local_field(
                x, y, z, site_x, site_y, site_z, at + k, left + k, below + k, above + k, exchange, dmi
            )
            sx, sy, sz = load(own_x, here + k), load(own_y, here + k), load(own_z, here + k)
            twice = _TWO * fma(sx, hx, fma(sy, hy, sz * hz)) / fma(hx, hx, fma(hy, hy, hz * hz))
            store(own_x, here + k, fma(twice, hx, -sx))
            store(own_y, here + k, fma(twice, hy, -sy))
            store(own_z, here + k, fma(twice, hz, -sz))
        _close_row(own_x, own_y, own_z, here, count, periodic)


@kernel
def _align(own, other, site, site_stride, padded, colour, lattice, couplings, overshoot):
    """Sets every spin of a colour along its field h, and beyond; returns the largest |S x h| there was before.

    S' = n + overshoot (n - S), normalized, with n = h / |h|: successive over-relaxation, which damps the soft modes
    of a texture much faster. For an overshoot from 0 to 1 no angle to h grows, so that the energy never rises.
    """
    restrict()
    rows, columns, periodic = lattice
    exchange, dmi = couplings
    own_x, own_y, own_z = own
    x, y, z = other
    site_x, site_y, site_z = site
    largest = np.int32(0)
    for row in range(rows):
        count, here, left, below, above = _place(row, colour, rows, columns, padded + LANES, periodic)
        at = START + row * site_stride
        for k in range(padded):
            hx, hy, hz = _local_field(
                x, y, z, site_x, site_y, site_z, at + k, left + k, below + k, above + k, exchange, dmi
            )
            sx, sy, sz = load(own_x, here + k), load(own_y, here + k), load(own_z, here + k)
            tx, ty, tz = fma(sy, hz, -(sz * hy)), fma(sz, hx, -(sx * hz)), fma(sx, hy, -(sy * hx))
            torque = fma(tx, tx, fma(ty, ty, tz * tz)) if k < count else _ZERO
            # Floats that are not negative order as their bits do; only a maximum of integers is vectorized.
            largest = max(largest, to_bits(torque))
            reciprocal = _ONE / np.sqrt(fma(hx, hx, fma(hy, hy, hz * hz)))
            nx, ny, nz = hx * reciprocal, hy * reciprocal, hz * reciprocal
            nx, ny, nz = fma(overshoot, nx - sx, nx), fma(overshoot, ny - sy, ny), fma(overshoot, nz - sz, nz)
            reciprocal = _ONE / np.sqrt(fma(nx, nx, fma(ny, ny, nz * nz)))
            store(own_x, here + k, nx * reciprocal)
            store(own_y, here + k, ny * reciprocal)
            store(own_z, here + k, nz * reciprocal)
        _close_row(own_x, own_y, own_z, here, count, periodic)
    return np.sqrt(from_bits(largest))


@kernel
def _metropolis(own, other, site, site_stride, states, padded, colour, lattice, couplings, beta, cap):
    """Tries a new direction for every spin of a colour, uniform over 1 - S.S' < cap; returns how many accepted."""
    restrict()
    rows, columns, periodic = lattice
    exchange, dmi = couplings
    own_x, own_y, own_z = own
    x, y, z = other
    site_x, site_y, site_z = site
    a, b, c, d = states
    accepted = np.int32(0)
    block = max(1, BLOCK // padded)
    for row in range(rows):
        count, here, left, below, above = _place(row, colour, rows, columns, padded + LANES, periodic)
        at = START + row * site_stride
        for k in range(padded):
            hx, hy, hz = _local_field(
                x, y, z, site_x, site_y, site_z, at + k, left + k, below + k, above + k, exchange, dmi
            )
            stream = k + row % block * padded
            uniform, turn, na, nb, nc, nd = two_uniforms(
                load(a, stream), load(b, stream), load(c, stream), load(d, stream)
            )
            chance, _, na, nb, nc, nd = two_uniforms(na, nb, nc, nd)
            store(a, stream, na)
            store(b, stream, nb)
            store(c, stream, nc)
            store(d, stream, nd)
            sx, sy, sz = load(own_x, here + k), load(own_y, here + k), load(own_z, here + k)
            tx, ty, tz = _tilted(cap * uniform, turn, sx, sy, sz)
            gain = fma(tx - sx, hx, fma(ty - sy, hy, (tz - sz) * hz))
            accept = chance >= _one_minus_exp2(min(gain * beta * np.float32(1 / _LN2), _ZERO))
            store(own_x, here + k, tx if accept else sx)
            store(own_y, here + k, ty if accept else sy)
            store(own_z, here + k, tz if accept else sz)
            accepted += np.int32(1) if accept and k < count else np.int32(0)
        _close_row(own_x, own_y, own_z, here, count, periodic)
    return accepted


@inlined
def _tilted(w, turn, x, y, z):
    """The unit vector at 1 - cos = w from the unit vector (x, y, z), by the reflection of `_heat_bath`."""
    cosine, sine = cos_sin_turn(turn)
    across = np.sqrt(w * (_TWO - w))
    vx, vy = across * cosine, across * sine
    tilt = fma(vx, x, vy * y) / (_ONE + abs(z))
    along = tilt + (_ONE - w)
    upward = from_bits(np.int32(to_bits(tilt) ^ np.int32(to_bits(z) & _SIGN)))
    tx, ty, tz = fma(along, x, -vx), fma(along, y, -vy), fma(along, z, upward)
    # One step of Newton's method for the length: trials start from trials, and rounding would add up.
    scale = fma(np.float32(-0.5), fma(tx, tx, fma(ty, ty, tz * tz)), np.float32(1.5))
    return tx * scale, ty * scale, tz * scale


@inlined
def _components(vectors, colour):
    return start(vectors[colour, 0]), start(vectors[colour, 1]), start(vectors[colour, 2])


@kernel
def heat_bath_sweeps(spins, site, states, scratch, lattice, couplings, betas, over_relaxation):
    """At each inverse temperature, one heat-bath update and `over_relaxation` reflections of every spin.

    Args:
        spins: (2, 3, n) float32: colour, component, packed site.
        site: (2, 3, n) float32: the part of each site's field that its neighbours don't make; or (2, 3, less), one row
            that serves for all: it stays in the nearest cache.
        states: (4, block_size) uint32: the random streams, one for each site of a block.
        scratch: (7, block_size) float32.
        lattice: rows, columns, and whether it is periodic.
        couplings: exchange and interfacial dmi, float32.
        betas: (sweeps,) float32.
        over_relaxation: how many.
    """
    padded, site_stride = _padded(lattice), _site_stride(spins, site, lattice)
    streams = start(states[0]), start(states[1]), start(states[2]), start(states[3])
    u, c, s, h = start(scratch[0]), start(scratch[1]), start(scratch[2]), start(scratch[3])
    buffers = u, c, s, h, start(scratch[4]), start(scratch[5]), start(scratch[6])
    for beta in betas:
        for colour in range(2):
            own, other, own_site = (
                _components(spins, colour),
                _components(spins, 1 - colour),
                _components(site, colour),
            )
            _heat_bath(own, other, own_site, site_stride, streams, buffers, padded, colour, lattice, couplings, beta)
        for half_sweep in range(2 * over_relaxation):
            colour = half_sweep & 1
            own, other, own_site = (
                _components(spins, colour),
                _components(spins, 1 - colour),
                _components(site, colour),
            )
            _over_relax(own, other, own_site, site_stride, padded, colour, lattice, couplings)


@kernel
def metropolis_sweeps(spins, site, states, lattice, couplings, betas, cap, adapt):
    """One Metropolis sweep at each inverse temperature, with trials uniform over 1 - S.S' < cap.

    If `adapt`, the cap grows or shrinks by 5 % after each sweep, towards half of the trials accepted. Other arguments
    as in `heat_bath_sweeps`. Returns the number of trials accepted, and the cap at the end.
    """
    padded, site_stride = _padded(lattice), _site_stride(spins, site, lattice)
    streams = start(states[0]), start(states[1]), start(states[2]), start(states[3])
    total = 0
    for beta in betas:
        accepted = 0
        for colour in range(2):
            own, other = _components(spins, colour), _components(spins, 1 - colour)
            own_site = _components(site, colour)
            accepted += _metropolis(
                own, other, own_site, site_stride, streams, padded, colour, lattice, couplings, beta, cap
            )
        total += accepted
        if adapt:
            wider = 2 * accepted > lattice[0] * lattice[1]
            cap = min(_TWO, cap * (np.float32(1.05) if wider else np.float32(1 / 1.05)))
    return total, cap


@kernel
def quench_sweeps(spins, site, lattice, couplings, sweeps, tolerance, overshoot):
    """Turns every spin into its field, sweep by sweep, at most `sweeps` times (`_align`): the heat bath at T = 0.

    Stops after a sweep in which no torque |S x h| that a spin had before its update exceeded the tolerance.
    Arguments as in `heat_bath_sweeps`. Returns the number of sweeps done, and the largest torque that the last
    of them met.
    """
    padded, site_stride = _padded(lattice), _site_stride(spins, site, lattice)
    largest = _ZERO
    for done in range(sweeps):
        largest = _ZERO
        for colour in range(2):
            own, other = _components(spins, colour), _components(spins, 1 - colour)
            torque = _align(
                own, other, _components(site, colour), site_stride, padded, colour, lattice, couplings, overshoot
            )
            largest = max(largest, torque)
        if largest <= tolerance:
            return done + 1, largest
    return sweeps, largest


@kernel
def close_rows(spins, lattice):
    """Continues all rows by one site at both ends, after spins were written from outside."""
    rows, columns, periodic = lattice
    padded = _padded(lattice)
    for colour in range(2):
        x, y, z = _components(spins, colour)
        for row in range(rows):
            count, here, _, _, _ = _place(row, colour, rows, columns, padded + LANES, periodic)
            _close_row(x, y, z, here, count, periodic)
