"""The packed checkerboard: where a site and its neighbours lie, and the field that these make.

The sites of one colour, (row + column + colour) even, interact with those of the other only, so a half-sweep updates
one colour in any order. Each colour keeps its three spin components in flat arrays; row y holds the sites
x = 2 k + p, p = (y + colour) % 2, at index START + y * stride + k. In the other colour the neighbours above and below
then have the same k, those to the left and right k - 1 + p and k + p: every neighbour is a contiguous load. One column
left and right of each row repeats the row's other end (periodic boundary) or is zero (open). Rows are padded to whole
vectors of LANES; the padding is computed like the rest and never read.

A `lattice` is (rows, columns, periodic).
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._numba import fma, inlined, kernel, load, start, store

LANES = 16
START = LANES

_ZERO = np.float32(0)


@inlined
def local_field(x, y, z, site_x, site_y, site_z, here, left, below, above, exchange, dmi):
    """The field at a site: of its four neighbours, at these indices of the other colour, and its own at `here`."""
    right = left + 1
    lx, rx, bx, ax = load(x, left), load(x, right), load(x, below), load(x, above)
    ly, ry, by, ay = load(y, left), load(y, right), load(y, below), load(y, above)
    lz, rz, bz, az = load(z, left), load(z, right), load(z, below), load(z, above)
    hx = fma(exchange, (lx + rx) + (bx + ax), fma(dmi, rz - lz, load(site_x, here)))
    hy = fma(exchange, (ly + ry) + (by + ay), fma(dmi, az - bz, load(site_y, here)))
    hz = fma(exchange, (lz + rz) + (bz + az), fma(-dmi, (rx - lx) + (ay - by), load(site_z, here)))
    return hx, hy, hz


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
def close_row(x, y, z, here, count, periodic):
    """Continues a row by one site at both ends: with its other end, or with nothing."""
    last = here + count - 1
    store(x, here - 1, load(x, last) if periodic else _ZERO)
    store(y, here - 1, load(y, last) if periodic else _ZERO)
    store(z, here - 1, load(z, last) if periodic else _ZERO)
    store(x, last + 1, load(x, here) if periodic else _ZERO)
    store(y, last + 1, load(y, here) if periodic else _ZERO)
    store(z, last + 1, load(z, here) if periodic else _ZERO)


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
    """Continues all rows by one site at both ends, after spins were written from outside."""
    rows, columns, periodic = lattice
    padded = padded_width(lattice)
    for colour in range(2):
        x, y, z = components(spins, colour)
        for row in range(rows):
            count, here, _, _, _ = place(row, colour, rows, columns, padded + LANES, periodic)
            close_row(x, y, z, here, count, periodic)
