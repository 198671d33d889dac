"""What is measured on periodic spin fields, (rows, columns, 3) or (N, rows, columns, 3), in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def magnetization(spins: npt.ArrayLike) -> Array:
    """Mean spin vector, (3,), or (N, 3) for a batch."""
    mean: Array = np.asarray(spins, np.float64).mean(axis=(-3, -2))
    return mean


def topological_charge(spins: npt.ArrayLike) -> Array:
    """How often the spins wrap the sphere: a whole number; a scalar array, or (N,) for a batch.

    The signed area of the spherical triangles that each plaquette's two halves span, over 4 pi (Berg and
    Luescher, Nucl. Phys. B 190, 412 (1981)). Counted with x along columns and y along rows, a skyrmion with
    S_z < 0 at its core in a background of S_z > 0 has charge -1.
    """
    a = np.asarray(spins, np.float64)
    b, d = np.roll(a, -1, axis=-2), np.roll(a, -1, axis=-3)
    c = np.roll(b, -1, axis=-3)
    charge: Array = (_triangle(a, b, c) + _triangle(a, c, d)).sum(axis=(-2, -1)) / (4 * np.pi)
    return charge


def _triangle(a: Array, b: Array, c: Array) -> Array:
    """Signed area of spherical triangles: tan(area / 2) = a.(b x c) / (1 + a.b + b.c + c.a)."""
    volume = np.einsum("...i,...i->...", a, np.cross(b, c))
    dots = sum(np.einsum("...i,...i->...", p, q) for p, q in ((a, b), (b, c), (c, a)))
    area: Array = 2 * np.arctan2(volume, 1 + dots)
    return area
