"""Compiled Monte Carlo sweeps of a packed checkerboard of classical spins in float32 (layout: `_lattice_kernels`)."""

from __future__ import annotations

import numpy as np

from rayspin.physics._elementary_kernels import (
    circle,
    exponential,
    one_minus_exp2,
    two_words,
    uniform,
)
from rayspin.physics._lattice_kernels import (
    LANES,
    at,
    close_row,
    components,
    local_field,
    pair_of_fields,
    place,
    put,
    vectors_of,
)
from rayspin.physics._numba import fma, from_bits, further, inlined, kernel, load, restrict, start, store, to_bits
from rayspin.physics._spin_kernels import (
    aligned,
    drawn,
    drawn_in_weak_field,
    reciprocals_of,
    reflected,
    square_of,
    tilted,
)

BLOCK = 256  # sites per stage: enough to hide latencies, few enough for the buffers to stay in the L1 cache

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_LN2 = np.float32(0.6931471805599453)
WEAK = np.float32(1 / 16)  # beta h below which the fractional part of an exponential variable loses digits


@kernel
def _heat_bath(own, other, site, states, scratch, vectors, color, lattice, couplings, beta):
    """Draw every spin of one color anew, with density proportional to exp(beta h . S), row by row.

    For the angle between S and h, w = (1 - cos) / 2 has the density exp(-2 beta h w) on [0, 1]. It is the fractional
    part of an exponential variable with this rate, because the exponential distribution has no memory. If a field is so
    weak that rounding matters, its row is drawn from the same random numbers by inverting the distribution,
    w = -ln(1 - u (1 - exp(-2 beta h))) / (2 beta h). The choice depends only on the fields, so both methods are exact.

    One long chain of operations on few spins would wait for latencies. The work is therefore split into three loops
    with buffers in between: random numbers; fields, stored in place of the spins, with their square root and division;
    spins.
    """
    restrict()
    rows, columns, periodic = lattice
    padded = vectors * LANES
    a, b, c, d = states
    exponentials, cosines, sines, inverses, reciprocals = scratch
    block = max(1, BLOCK // padded)
    unit = np.float32(0.5) * _LN2 / beta
    weak = to_bits((WEAK / beta) * (WEAK / beta))
    for first in range(0, rows, block):
        last = min(first + block, rows)
        for k in range(block * padded):
            one, two, na, nb, nc, nd = two_words(load(a, k), load(b, k), load(c, k), load(d, k))
            store(a, k, na)
            store(b, k, nb)
            store(c, k, nc)
            store(d, k, nd)
            cosine, sine = circle(two)
            store(exponentials, k, exponential(one))
            store(cosines, k, cosine)
            store(sines, k, sine)
        weak_rows = 0
        for row in range(first, last):
            _, here, left, below, above = place(row, color, rows, columns, padded + LANES, periodic)
            buffer = (row - first) * padded
            weakest = np.int32(2**31 - 1)
            for k in range(padded):
                hx, hy, hz = local_field(other, site, here + k, left + k, below + k, above + k, couplings)
                square = square_of(hx, hy, hz)
                weakest = min(weakest, to_bits(square))
                inverse, reciprocal = reciprocals_of(square, hz)
                put(own, here + k, (hx, hy, hz))
                store(inverses, buffer + k, inverse)
                store(reciprocals, buffer + k, reciprocal)
            weak_rows |= int(weakest < weak) << (row - first)
        for row in range(first, last):
            count, here, _, _, _ = place(row, color, rows, columns, padded + LANES, periodic)
            buffer = (row - first) * padded
            if weak_rows >> (row - first) & 1:
                for k in range(padded):
                    hx, hy, hz = at(own, here + k)
                    e, cosine, sine = load(exponentials, buffer + k), load(cosines, buffer + k), load(sines, buffer + k)
                    put(own, here + k, drawn_in_weak_field(hx, hy, hz, e, cosine, sine, unit))
            else:
                for k in range(padded):
                    hx, hy, hz = at(own, here + k)
                    e, cosine, sine = load(exponentials, buffer + k), load(cosines, buffer + k), load(sines, buffer + k)
                    inverse, reciprocal = load(inverses, buffer + k), load(reciprocals, buffer + k)
                    put(own, here + k, drawn(hx, hy, hz, inverse, reciprocal, e, cosine, sine, unit))
            close_row(own, row, color, here, count, periodic)


@kernel
def _over_relax(own, other, site, vectors, color, lattice, couplings):
    """Reflect every spin of one color about its field, S' = 2 (S . h) h / h^2 - S, which conserves the energy.

    Two rows are processed in one loop, which saves loads and hides latencies. If the number of rows is odd, the partner
    of the last row is the row of zeros beyond an open lattice, whose reflection stays zero.
    """
    rows, columns, periodic = lattice
    stride = vectors * LANES + LANES
    for row in range(0, rows, 2):
        count, lower, _, below, _ = place(row, color, rows, columns, stride, periodic)
        next_count, upper, _, _, above = place(row + 1, color, rows, columns, stride, periodic)
        pair = _row_at(own, lower), _row_at(own, upper)
        if color:
            _reflect_rows(*pair, other, site, lower, upper, below, above, vectors, 1, couplings)
        else:
            _reflect_rows(*pair, other, site, lower, upper, below, above, vectors, 0, couplings)
        close_row(own, row, color, lower, count, periodic)
        close_row(own, row + 1, color, upper, next_count, periodic)


@inlined
def _reflect_rows(lower_row, upper_row, other, site, lower, upper, below, above, vectors, color, couplings):
    restrict()  # the two rows don't overlap
    for k in range(vectors * LANES):
        lower_field, upper_field = pair_of_fields(
            other, site, lower + k, upper + k, below + k, above + k, color, couplings
        )
        put(lower_row, k, reflected(at(lower_row, k), lower_field))
        put(upper_row, k, reflected(at(upper_row, k), upper_field))


@inlined
def _row_at(vectors, here):
    x, y, z = vectors
    return further(x, here), further(y, here), further(z, here)


@kernel
def _align(own, other, site, vectors, color, lattice, couplings, overshoot):
    """Turn every spin of one color along its field h and beyond; return the largest |S x h| before the turn.

    S' = n + overshoot (n - S), normalized, with n = h / |h|: successive over-relaxation, which damps the soft modes of
    a texture much faster. For an overshoot from 0 to 1 no angle to h grows, so the energy never rises.
    """
    restrict()
    rows, columns, periodic = lattice
    padded = vectors * LANES
    largest = np.int32(0)
    for row in range(rows):
        count, here, left, below, above = place(row, color, rows, columns, padded + LANES, periodic)
        for k in range(padded):
            hx, hy, hz = local_field(other, site, here + k, left + k, below + k, above + k, couplings)
            sx, sy, sz = at(own, here + k)
            sx, sy, sz, torque = aligned(sx, sy, sz, hx, hy, hz, overshoot)
            # Non-negative floats have the order of their bits, and only a maximum of integers is vectorized.
            largest = max(largest, to_bits(torque if k < count else _ZERO))
            put(own, here + k, (sx, sy, sz))
        close_row(own, row, color, here, count, periodic)
    return np.sqrt(from_bits(largest))


@kernel
def _metropolis(own, other, site, states, vectors, color, lattice, couplings, beta, cap):
    """Try a new direction for every spin of one color, uniform over 1 - S.S' < cap; return the number accepted."""
    restrict()
    rows, columns, periodic = lattice
    padded = vectors * LANES
    a, b, c, d = states
    half_cap = np.float32(0.5) * cap
    accepted = np.int32(0)
    block = max(1, BLOCK // padded)
    for row in range(rows):
        count, here, left, below, above = place(row, color, rows, columns, padded + LANES, periodic)
        for k in range(padded):
            hx, hy, hz = local_field(other, site, here + k, left + k, below + k, above + k, couplings)
            stream = k + row % block * padded
            one, two, na, nb, nc, nd = two_words(load(a, stream), load(b, stream), load(c, stream), load(d, stream))
            three, _, na, nb, nc, nd = two_words(na, nb, nc, nd)
            store(a, stream, na)
            store(b, stream, nb)
            store(c, stream, nc)
            store(d, stream, nd)
            sx, sy, sz = at(own, here + k)
            cosine, sine = circle(two)
            tx, ty, tz = tilted(half_cap * uniform(one), cosine, sine, sx, sy, sz, _ONE / (_ONE + abs(sz)), _ONE)
            # One Newton step restores the length, because rounding would accumulate from trial to trial.
            scale = fma(np.float32(-0.5), square_of(tx, ty, tz), np.float32(1.5))
            tx, ty, tz = tx * scale, ty * scale, tz * scale
            gain = fma(tx - sx, hx, fma(ty - sy, hy, (tz - sz) * hz))
            accept = uniform(three) >= one_minus_exp2(min(gain * beta * np.float32(1 / _LN2), _ZERO))
            put(own, here + k, (tx if accept else sx, ty if accept else sy, tz if accept else sz))
            accepted += np.int32(1) if accept and k < count else np.int32(0)
        close_row(own, row, color, here, count, periodic)
    return accepted


@inlined
def _seen_by(color, spins, site):
    """Return the components of a color's spins, of the other color's, and of its site field."""
    return components(spins, color), components(spins, 1 - color), components(site, color)


@kernel
def heat_bath_sweeps(spins, site, states, scratch, lattice, couplings, betas, over_relaxation):
    """Perform a heat-bath update and `over_relaxation` reflections of every spin at each inverse temperature.

    Args:
        spins: (2, 3, n) float32: color, component, packed site.
        site: (2, 3, n) float32: the part of each site's field that is not due to its neighbors; or (2, 3) if it is the
            same at every site of a color, which saves a seventh of the loads.
        states: (4, block_size) uint32: random streams, one for each site of a block.
        scratch: (5, block_size) float32.
        lattice: rows, columns, and whether it is periodic.
        couplings: exchange and interfacial DMI, J, float32.
        betas: (sweeps,) float32, inverse temperatures.
        over_relaxation: number of reflections.
    """
    vectors = vectors_of(lattice)
    streams = start(states[0]), start(states[1]), start(states[2]), start(states[3])
    buffers = start(scratch[0]), start(scratch[1]), start(scratch[2]), start(scratch[3]), start(scratch[4])
    for beta in betas:
        for color in range(2):
            own, other, own_site = _seen_by(color, spins, site)
            _heat_bath(own, other, own_site, streams, buffers, vectors, color, lattice, couplings, beta)
        for half_sweep in range(2 * over_relaxation):
            color = half_sweep & 1
            own, other, own_site = _seen_by(color, spins, site)
            _over_relax(own, other, own_site, vectors, color, lattice, couplings)


@kernel
def metropolis_sweeps(spins, site, states, lattice, couplings, betas, cap, adapt):
    """Perform one Metropolis sweep at each inverse temperature, with trials uniform over 1 - S.S' < cap.

    If `adapt` is true, the cap grows or shrinks by 5 % after each sweep, towards an acceptance of one half. Other
    arguments are as in `heat_bath_sweeps`. Returns the number of trials accepted and the final cap.
    """
    vectors = vectors_of(lattice)
    streams = start(states[0]), start(states[1]), start(states[2]), start(states[3])
    total = 0
    for beta in betas:
        accepted = 0
        for color in range(2):
            own, other, own_site = _seen_by(color, spins, site)
            accepted += _metropolis(own, other, own_site, streams, vectors, color, lattice, couplings, beta, cap)
        total += accepted
        if adapt:
            wider = 2 * accepted > lattice[0] * lattice[1]
            cap = min(_TWO, cap * (np.float32(1.05) if wider else np.float32(1 / 1.05)))
    return total, cap


@kernel
def quench_sweeps(spins, site, lattice, couplings, sweeps, tolerance, overshoot):
    """Align every spin with its field, sweep by sweep, at most `sweeps` times (`_align`): the heat bath at T = 0.

    The quench stops after a sweep in which no torque |S x h|, measured before the update of its spin, exceeds the
    tolerance. Arguments are as in `heat_bath_sweeps`. Returns the number of sweeps done and the largest torque in the
    last.
    """
    vectors = vectors_of(lattice)
    largest = _ZERO
    for done in range(sweeps):
        largest = _ZERO
        for color in range(2):
            own, other, own_site = _seen_by(color, spins, site)
            torque = _align(own, other, own_site, vectors, color, lattice, couplings, overshoot)
            largest = max(largest, torque)
        if largest <= tolerance:
            return done + 1, largest
    return sweeps, largest
