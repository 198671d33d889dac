"""The packed checkerboard: the positions of a site and its neighbors in memory, and the field of the neighbors.

Sites of one color, (row + column + color) even, interact only with those of the other, so a half-sweep can update the
sites of a color in any order. Each color stores its three spin components in flat arrays; row y contains the sites
x = 2 k + p, p = (y + color) % 2, at index START + y * stride + k. In the other color, the neighbors above and below
have the same k, those to the left and right k - 1 + p and k + p, so the loads of each neighbor are contiguous. These
loads extend beyond a row on one side only, where one more column repeats the other end of the row (periodic boundary)
or is zero (open). Rows are padded to whole vectors of LANES; the padding is computed like the rest and never read.

A `lattice` is (rows, columns, periodic).
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._numba import fma, inlined, kernel, load, start, store

LANES = 16
START = LANES

_ZERO = np.float32(0)


@inlined
def local_field(other, site, here, left, below, above, couplings):
    """Return the field at a site: the field of its four neighbors plus its site field.

    `here` is an index of `site`; `left`, `below` and `above` are indices of `other`, the spins of the other color.
    """
    return _field_of(
        at(site, here), at(other, left), at(other, left + 1), at(other, below), at(other, above), couplings
    )


@inlined
def pair_of_fields(other, site, lower, upper, below, above, color, couplings):
    """Return the fields at a site of an even row and at the same index of the next row; they share two of eight loads.

    Args:
        other: components of the spins of the other color.
        site: components of the site fields.
        lower: index of the site in the even row.
        upper: index of the site in the next row.
        below: index of the neighbor below the pair.
        above: index of the neighbor above the pair.
        color: 0 or 1, a compile-time constant.
        couplings: exchange and DMI, J.
    """
    aside = 2 * color - 1
    of_lower, of_upper = at(other, lower), at(other, upper)
    by_lower, by_upper = at(other, lower + aside), at(other, upper - aside)
    lower_left, lower_right = (of_lower, by_lower) if color else (by_lower, of_lower)
    upper_left, upper_right = (by_upper, of_upper) if color else (of_upper, by_upper)
    return (
        _field_of(at(site, lower), lower_left, lower_right, at(other, below), of_upper, couplings),
        _field_of(at(site, upper), upper_left, upper_right, of_lower, at(other, above), couplings),
    )


@inlined
def _field_of(own, left, right, below, above, couplings):
    exchange, dmi = couplings
    own_x, own_y, own_z = own
    lx, ly, lz = left
    rx, ry, rz = right
    bx, by, bz = below
    ax, ay, az = above
    hx = fma(exchange, (lx + rx) + (bx + ax), fma(dmi, rz - lz, own_x))
    hy = fma(exchange, (ly + ry) + (by + ay), fma(dmi, az - bz, own_y))
    hz = fma(exchange, (lz + rz) + (bz + az), fma(-dmi, (rx - lx) + (ay - by), own_z))
    return hx, hy, hz


@inlined
def at(vectors, index):
    """Return the three components at an index."""
    x, y, z = vectors
    return load(x, index), load(y, index), load(z, index)


@inlined
def put(vectors, index, vector):
    """Write the three components at an index."""
    x, y, z = vectors
    sx, sy, sz = vector
    store(x, index, sx)
    store(y, index, sy)
    store(z, index, sz)


@inlined
def place(row, color, rows, columns, stride, periodic):
    """Locate the sites of one color in a row; an open lattice has a row of zeros after its last row.

    Returns:
        number of sites, index of the first, and indices of its neighbors left, below and above.
    """
    parity = (row + color) & 1
    count = (columns + 1 - parity) >> 1
    here = START + row * stride
    beyond = START + rows * stride
    below = here - stride if row > 0 else (beyond - stride if periodic else beyond)
    above = here + stride if row + 1 < rows else (START if periodic else beyond)
    return count, here, here - 1 + parity, below, above


@inlined
def close_row(vectors, row, color, here, count, periodic):
    """Continue a row by one site: by its other end on the side that is read, or by zero on the right if open.

    The site to the left of an open row is zero from the start and is never written.
    """
    last = here + count - 1
    if periodic:
        odd = (row + color) & 1
        end, beyond = (last, here - 1) if odd else (here, last + 1)
        put(vectors, beyond, at(vectors, end))
    else:
        put(vectors, last + 1, (_ZERO, _ZERO, _ZERO))


@inlined
def vectors_of(lattice):
    """Return the number of vectors per row of one color. Loops of this length need no scalar remainder."""
    return -(-lattice[1] // (2 * LANES))


@inlined
def padded_width(lattice):
    """Return the sites of one color per row, rounded up to whole vectors."""
    return vectors_of(lattice) * LANES


@inlined
def components(vectors, color):
    """Return pointers to the three components of a color, or the components themselves of vectors (2, 3)."""
    return start(vectors[color, 0]), start(vectors[color, 1]), start(vectors[color, 2])


@kernel
def close_rows(spins, lattice):
    """Continue all rows by one site, after spins were written from outside the kernels."""
    rows, columns, periodic = lattice
    padded = padded_width(lattice)
    for color in range(2):
        own = components(spins, color)
        for row in range(rows):
            count, here, _, _, _ = place(row, color, rows, columns, padded + LANES, periodic)
            close_row(own, row, color, here, count, periodic)
