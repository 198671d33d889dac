"""The packed checkerboard: where a site and its neighbours lie, and the field that these make.

The sites of one colour, (row + column + colour) even, interact with those of the other only, so a half-sweep updates
one colour in any order. Each colour keeps its three spin components in flat arrays; row y holds the sites
x = 2 k + p, p = (y + colour) % 2, at index START + y * stride + k. In the other colour the neighbours above and below
then have the same k, those to the left and right k - 1 + p and k + p: every neighbour is a contiguous load. So these
loads leave a row on one side only, and there one column more repeats the row's other end (periodic boundary) or is
zero (open). Rows are padded to whole vectors of LANES; the padding is computed like the rest and never read.

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
    """The field at a site: of its four neighbours, at these indices of the other colour, and its own at `here`."""
    return _field_of(
        at(site, here), at(other, left), at(other, left + 1), at(other, below), at(other, above), couplings
    )


@inlined
def pair_of_fields(other, site, lower, upper, below, above, colour, couplings):
    """The fields at a site of an even row and at the one after it in the next row, with two loads of eight shared.

    Args:
        other: the components of the other colour's spins.
        site: those of the site fields.
        lower: index of the site in the even row.
        upper: of the site in the next row.
        below: of the neighbour below the pair.
        above: of the neighbour above the pair.
        colour: 0 or 1, known to the compiler.
        couplings: exchange and dmi.
    """
    aside = 2 * colour - 1
    of_lower, of_upper = at(other, lower), at(other, upper)
    by_lower, by_upper = at(other, lower + aside), at(other, upper - aside)
    lower_left, lower_right = (of_lower, by_lower) if colour else (by_lower, of_lower)
    upper_left, upper_right = (by_upper, of_upper) if colour else (of_upper, by_upper)
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
    """The three components at an index."""
    x, y, z = vectors
    return load(x, index), load(y, index), load(z, index)


@inlined
def put(vectors, index, vector):
    """Writes the three components at an index."""
    x, y, z = vectors
    sx, sy, sz = vector
    store(x, index, sx)
    store(y, index, sy)
    store(z, index, sz)


@inlined
def place(row, colour, rows, columns, stride, periodic):
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
def close_row(vectors, row, colour, here, count, periodic):
    """Continues a row by one site: with its other end, on the side where it is read; or on the right with nothing.

    What lies left of an open row is zero from the start, and no vector is stored there.
    """
    last = here + count - 1
    if periodic:
        odd = (row + colour) & 1
        end, beyond = (last, here - 1) if odd else (here, last + 1)
        put(vectors, beyond, at(vectors, end))
    else:
        put(vectors, last + 1, (_ZERO, _ZERO, _ZERO))


@inlined
def vectors_of(lattice):
    """Vectors that the sites of one colour in a row take. Told a row's length in these, loops need no scalar rest."""
    return -(-lattice[1] // (2 * LANES))


@inlined
def padded_width(lattice):
    """Sites of one colour in a row, up to whole vectors."""
    return vectors_of(lattice) * LANES


@inlined
def components(vectors, colour):
    """Where the three components of a colour begin; of vectors (2, 3), one for each colour, the components."""
    return start(vectors[colour, 0]), start(vectors[colour, 1]), start(vectors[colour, 2])


@kernel
def close_rows(spins, lattice):
    """Continues all rows by one site, after spins were written from outside."""
    rows, columns, periodic = lattice
    padded = padded_width(lattice)
    for colour in range(2):
        own = components(spins, colour)
        for row in range(rows):
            count, here, _, _, _ = place(row, colour, rows, columns, padded + LANES, periodic)
            close_row(own, row, colour, here, count, periodic)
