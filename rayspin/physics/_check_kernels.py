"""Length, energy and torque of a stored sample in one pass, in float64.

The kernel keeps up with reading from disk. It shares no code with annealing or with `field`.
"""

from __future__ import annotations

import math

import numpy as np

from rayspin.physics._numba import kernel, load, restrict, start, store

_LANES = 8


@kernel
def check_sample(spins, beside, exchange, dmi, bulk, anisotropy, axis, external, edge):
    """Return the largest ||S| - 1|, the energy per site, and the largest |S x F| of a sample.

    Args:
        spins: (rows, columns, 3).
        beside: (rows, columns, 3) field of further bilinear terms, J; or empty.
        exchange: strength of the exchange, J.
        dmi: strength of the DMI, J.
        bulk: whether the DMI is bulk rather than interfacial.
        anisotropy: strength of the anisotropy, J.
        axis: (3,), unit vector.
        external: (3,), external field, J.
        edge: factor of neighbors beyond an edge, which are spins of the opposite edge: 1 if periodic, 0 if open.
    """
    rows, columns, _ = spins.shape
    width = -(-columns // _LANES) * _LANES
    # Spins get one more site on each side and zeros up to whole vectors. If there is no further field, one row of zeros
    # is used for all rows.
    planes = np.zeros((3, rows + 2, width + 2))
    further = np.zeros((3, rows if beside.size else 1, width))
    for component in range(3):
        plane = planes[component]
        for y in range(rows):
            for x in range(columns):
                plane[y + 1, x + 1] = spins[y, x, component]
            plane[y + 1, 0], plane[y + 1, columns + 1] = edge * plane[y + 1, columns], edge * plane[y + 1, 1]
        for x in range(1, columns + 1):
            plane[0, x], plane[rows + 1, x] = edge * plane[rows, x], edge * plane[1, x]
        if beside.size:
            for y in range(rows):
                for x in range(columns):
                    further[component, y, x] = beside[y, x, component]
    sums = np.zeros((3, _LANES))
    field = (start(further[0]), start(further[1]), start(further[2])), width if beside.size else 0
    couplings = exchange, dmi if not bulk else 0.0, dmi if bulk else 0.0, 2 * anisotropy
    along, outer = (axis[0], axis[1], axis[2]), (external[0], external[1], external[2])
    _add_up(
        (start(planes[0]), start(planes[1]), start(planes[2])), *field, couplings, along, outer,
        (start(sums[0]), start(sums[1]), start(sums[2])), (rows, columns, width),
    )  # fmt: skip
    length_error, energy, torque = sums[0].max(), sums[1].sum(), sums[2].max()
    # NaN propagates through the sum, but not through the maxima.
    if energy != energy:
        return math.inf, math.nan, math.inf
    return length_error, energy / (rows * columns), math.sqrt(torque)


@kernel
def _add_up(planes, further, further_stride, couplings, along, outer, sums, lattice):
    """Accumulate, per lane, the largest ||S| - 1|, the sum of the energies, and the largest |S x F|^2.

    A single accumulator would fix the order of float operations, which are not associative, and prevent vectorization.
    """
    restrict()
    x, y, z = planes
    gx, gy, gz = further
    exchange, interfacial, bulk, twice_anisotropy = couplings
    nx, ny, nz = along
    ox, oy, oz = outer
    length_errors, energies, torques = sums
    rows, columns, width = lattice
    stride = width + 2
    for row in range(rows):
        for first in range(0, width, _LANES):
            for lane in range(_LANES):
                k = first + lane
                here, beside = (row + 1) * stride + 1 + k, row * further_stride + k
                left, right, below, above = here - 1, here + 1, here - stride, here + stride
                sx, sy, sz = load(x, here), load(y, here), load(z, here)
                lx, rx, bx, ax = load(x, left), load(x, right), load(x, below), load(x, above)
                ly, ry, by, ay = load(y, left), load(y, right), load(y, below), load(y, above)
                lz, rz, bz, az = load(z, left), load(z, right), load(z, below), load(z, above)
                easy = twice_anisotropy * (sx * nx + sy * ny + sz * nz)
                fx = exchange * (lx + rx + bx + ax) + interfacial * (rz - lz) + bulk * (az - bz)
                fy = exchange * (ly + ry + by + ay) + interfacial * (az - bz) - bulk * (rz - lz)
                fz = exchange * (lz + rz + bz + az) - interfacial * (rx - lx + ay - by) + bulk * (ry - ly - ax + bx)
                fx, fy, fz = fx + easy * nx + load(gx, beside), fy + easy * ny + load(gy, beside), fz + easy * nz
                fz += load(gz, beside)
                energy = 0.5 * (sx * fx + sy * fy + sz * fz) + (sx * ox + sy * oy + sz * oz)
                fx, fy, fz = fx + ox, fy + oy, fz + oz
                tx, ty, tz = sy * fz - sz * fy, sz * fx - sx * fz, sx * fy - sy * fx
                torque = tx * tx + ty * ty + tz * tz
                error = abs(np.sqrt(sx * sx + sy * sy + sz * sz) - 1.0) if k < columns else 0.0
                store(energies, lane, load(energies, lane) - energy if k < columns else load(energies, lane))
                largest, worst = load(torques, lane), load(length_errors, lane)
                store(torques, lane, torque if torque > largest and k < columns else largest)
                store(length_errors, lane, error if error > worst else worst)
