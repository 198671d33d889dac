"""Compiled topology of a texture in float64: its charge, the connected domains of S_z, and distances of walls."""

from __future__ import annotations

import math

import numpy as np

from rayspin.physics._numba import inlined, kernel

_PLANE = 1e-12
"""Triple product of unit vectors below which they count as coplanar: the rounding of float64, with a margin."""

_ZERO = 1e-30
"""Length below which a spin has no direction."""


_SMALL, _GATHERED = 1 / 16, 48
"""Triangles whose tan(area / 2) is below 1/16 are added up as a product of complex numbers, 48 at most: the argument of
their product stays below pi. Their real parts are above 1/16, so that the product can't underflow."""


@kernel
def charge_of(spins, periodic):
    """Return the topological charge of spins (rows, columns, 3) of any length (`observables.topological_charge`).

    The arc tangents of triangles take most of the time, so those of small triangles are taken of many at once.
    """
    rows, columns, _ = spins.shape
    unit = np.zeros((2, columns, 3))
    _normalize(spins[0], unit[0])
    total = 0.0
    for row in range(rows if periodic else rows - 1):
        here, beyond = unit[row % 2], unit[(row + 1) % 2]
        _normalize(spins[(row + 1) % rows], beyond)
        real, imaginary, gathered = 1.0, 0.0, 0
        for column in range(columns if periodic else columns - 1):
            right = (column + 1) % columns
            for half in range(2):
                middle = here[right] if half == 0 else beyond[right]
                last = beyond[right] if half == 0 else beyond[column]
                volume, reach = _tangent(here[column], middle, last)
                if reach > _SMALL and abs(volume) < _SMALL * reach:
                    real, imaginary = real * reach - imaginary * volume, real * volume + imaginary * reach
                    gathered += 1
                elif abs(volume) >= _PLANE or reach >= _PLANE:
                    total += math.atan2(volume, reach)
                if gathered == _GATHERED:
                    total += math.atan2(imaginary, real)
                    real, imaginary, gathered = 1.0, 0.0, 0
        total += math.atan2(imaginary, real)
    return total / (2 * math.pi)


@inlined
def _normalize(row, unit):
    """Write the directions of spins (columns, 3) to `unit`; a spin of length zero has the direction zero."""
    for column in range(row.shape[0]):
        x, y, z = np.float64(row[column, 0]), np.float64(row[column, 1]), np.float64(row[column, 2])
        length = math.sqrt(x * x + y * y + z * z)
        scale = 1.0 / length if length > _ZERO else 0.0
        unit[column, 0], unit[column, 1], unit[column, 2] = x * scale, y * scale, z * scale


@inlined
def _tangent(a, b, c):
    """Return y and x of a spherical triangle: tan(area / 2) = y / x = a.(b x c) / (1 + a.b + b.c + c.a).

    Three coplanar spins that reach around the circle bound half of the sphere on either side: y is 0 and x is not
    positive. They count 0, since rounding would choose the side for each triangle of a planar spiral independently.
    """
    volume = (
        a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
    )
    dots = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + b[0] * c[0] + b[1] * c[1] + b[2] * c[2]
    return volume, 1 + dots + c[0] * a[0] + c[1] * a[1] + c[2] * a[2]


@kernel
def domain_sizes(inside, periodic):
    """Return the numbers of sites of the connected domains of a mask (rows, columns), in no particular order.

    Sites are connected to the four nearest neighbors. A domain is filled from its first site outwards.
    """
    rows, columns = inside.shape
    waiting = inside.copy()
    stack = np.empty(rows * columns, np.int64)
    sizes = np.empty(rows * columns, np.int64)
    domains = 0
    for start in range(rows * columns):
        if not waiting[start // columns, start % columns]:
            continue
        waiting[start // columns, start % columns] = False
        stack[0], depth, size = start, 1, 0
        while depth:
            depth -= 1
            size += 1
            row, column = stack[depth] // columns, stack[depth] % columns
            for side in range(4):
                y = row + (side == 0) - (side == 1)
                x = column + (side == 2) - (side == 3)
                if not periodic and not (0 <= y < rows and 0 <= x < columns):
                    continue
                y, x = y % rows, x % columns
                if waiting[y, x]:
                    waiting[y, x] = False
                    stack[depth] = y * columns + x
                    depth += 1
        sizes[domains] = size
        domains += 1
    return sizes[:domains]


@kernel
def distances_to_segments(points, centers, halves, rows, columns):
    """Return the distance of each point (n, 2) to the nearest of segments on a periodic lattice (`walls`).

    A segment reaches from its center (m, 2) by plus and minus its half (m, 2), which is short beside the lattice.
    """
    distances = np.empty(points.shape[0])
    for point in range(points.shape[0]):
        nearest = np.inf
        for segment in range(centers.shape[0]):
            y, x = points[point, 0] - centers[segment, 0], points[point, 1] - centers[segment, 1]
            y -= rows * np.round(y / rows)
            x -= columns * np.round(x / columns)
            half_y, half_x = halves[segment, 0], halves[segment, 1]
            square = half_y * half_y + half_x * half_x
            along = (y * half_y + x * half_x) / square if square > 0 else 0.0
            along = min(1.0, max(-1.0, along))
            y, x = y - along * half_y, x - along * half_x
            nearest = min(nearest, y * y + x * x)
        distances[point] = math.sqrt(nearest)
    return distances
