"""One pass over a stored sample: what its spins say of length, energy and torque, in float64.

Written for reading data at the speed of a disk, and apart from the code that annealed them and from `field`.
"""

from __future__ import annotations

import math

from rayspin.physics._numba import kernel


@kernel
def check_sample(spins, beside, exchange, dmi, bulk, anisotropy, axis, external, edge):
    """Largest ||S| - 1|, energy per site, and largest |S x F|; `beside` is a further bilinear field, or empty.

    Neighbours beyond an edge are those of the other edge, `edge` times: 1 is periodic, 0 is open.
    """
    rows, columns, _ = spins.shape
    length_error, energy, torque = 0.0, 0.0, 0.0
    for y in range(rows):
        below, above = (y - 1) % rows, (y + 1) % rows
        has_below = 1.0 if y > 0 else edge
        has_above = 1.0 if y < rows - 1 else edge
        for x in range(columns):
            left, right = x - 1, x + 1
            has_left = has_right = 1.0
            if left < 0:
                left, has_left = columns - 1, edge
            if right == columns:
                right, has_right = 0, edge
            lx, ly, lz = has_left * spins[y, left, 0], has_left * spins[y, left, 1], has_left * spins[y, left, 2]
            rx, ry, rz = has_right * spins[y, right, 0], has_right * spins[y, right, 1], has_right * spins[y, right, 2]
            bx, by, bz = has_below * spins[below, x, 0], has_below * spins[below, x, 1], has_below * spins[below, x, 2]
            ax, ay, az = has_above * spins[above, x, 0], has_above * spins[above, x, 1], has_above * spins[above, x, 2]
            sx, sy, sz = float(spins[y, x, 0]), float(spins[y, x, 1]), float(spins[y, x, 2])
            fx = exchange * (lx + rx + bx + ax)
            fy = exchange * (ly + ry + by + ay)
            fz = exchange * (lz + rz + bz + az)
            if bulk:
                fx += dmi * (az - bz)
                fy -= dmi * (rz - lz)
                fz += dmi * (ry - ly - ax + bx)
            else:
                fx += dmi * (rz - lz)
                fy += dmi * (az - bz)
                fz -= dmi * (rx - lx + ay - by)
            along = 2 * anisotropy * (sx * axis[0] + sy * axis[1] + sz * axis[2])
            fx += along * axis[0]
            fy += along * axis[1]
            fz += along * axis[2]
            if beside.size:
                fx += beside[y, x, 0]
                fy += beside[y, x, 1]
                fz += beside[y, x, 2]
            energy -= 0.5 * (sx * fx + sy * fy + sz * fz)
            energy -= sx * external[0] + sy * external[1] + sz * external[2]
            fx += external[0]
            fy += external[1]
            fz += external[2]
            tx, ty, tz = sy * fz - sz * fy, sz * fx - sx * fz, sx * fy - sy * fx
            length_error = max(length_error, abs(math.sqrt(sx * sx + sy * sy + sz * sz) - 1))
            torque = max(torque, tx * tx + ty * ty + tz * tz)
            # A maximum passes over NaN; it must not.
            if sx != sx or sy != sy or sz != sz:
                return math.inf, math.nan, math.inf
    return length_error, energy / (rows * columns), math.sqrt(torque)
