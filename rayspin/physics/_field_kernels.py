"""Compiled fields of the pair terms, site by site, in the precision of the spins.

`padded` contains the spins and the neighbors beyond each edge, (rows + 2, columns + 2, 3).
"""

from __future__ import annotations

import numpy as np

from rayspin.physics._numba import inlined, kernel, load, start, store


@kernel
def exchange_field(padded, exchange):
    """Return exchange sum_j S_j over the four neighbors."""
    rows, width, row = _shape(padded)
    field = np.empty((rows, width // 3, 3), padded.dtype)
    spins, fields = start(padded), start(field)
    for y in range(rows):
        for k in range(width):
            here = (y + 1) * row + 3 + k
            along_x = load(spins, here - 3) + load(spins, here + 3)
            along_y = load(spins, here - row) + load(spins, here + row)
            store(fields, y * width + k, exchange * (along_x + along_y))
    return field


@kernel
def dmi_field(padded, dmi, bulk):
    """Return sum_j D_ij x S_j; since D_ij = -D_ji, it contains differences of opposite neighbors."""
    rows, width, row = _shape(padded)
    field = np.empty((rows, width // 3, 3), padded.dtype)
    spins, fields = start(padded), start(field)
    for y in range(rows):
        for k in range(0, width, 3):
            left, right = (y + 1) * row + k, (y + 1) * row + k + 6
            below, above = y * row + 3 + k, (y + 2) * row + 3 + k
            xx, xy = load(spins, right) - load(spins, left), load(spins, above) - load(spins, below)
            yx, yy = load(spins, right + 1) - load(spins, left + 1), load(spins, above + 1) - load(spins, below + 1)
            zx, zy = load(spins, right + 2) - load(spins, left + 2), load(spins, above + 2) - load(spins, below + 2)
            fx, fy, fz = (zy, -zx, yx - xy) if bulk else (zx, zy, -xx - yy)
            here = y * width + k
            store(fields, here, dmi * fx)
            store(fields, here + 1, dmi * fy)
            store(fields, here + 2, dmi * fz)
    return field


@inlined
def _shape(padded):
    """Return the number of rows, of numbers per row, and of numbers per padded row."""
    return padded.shape[0] - 2, 3 * (padded.shape[1] - 2), 3 * padded.shape[1]
