"""What is measured on spin fields, (rows, columns, 3) or (N, rows, columns, 3), in float64.

Fields are periodic unless their boundary is said to be "open": then nothing is counted over the edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.physics.arguments import Boundary, periodic, spin_field, unit_spins

Array = npt.NDArray[np.float64]


def magnetization(spins: npt.ArrayLike) -> Array:
    """Mean spin vector, (3,), or (N, 3) for a batch."""
    mean: Array = spin_field(spins).astype(np.float64).mean(axis=(-3, -2))
    return mean


def topological_charge(spins: npt.ArrayLike, boundary: Boundary = "periodic") -> Array:
    """How often unit spins wrap the sphere: a scalar array, or (N,) for a batch; whole numbers if periodic.

    The signed area of the spherical triangles that each plaquette's two halves span, over 4 pi (Berg and
    Luescher, Nucl. Phys. B 190, 412 (1981)). Counted with x along columns and y along rows, a skyrmion with
    S_z < 0 at its core in a background of S_z > 0 has charge -1.
    """
    a = unit_spins(spins)
    b, d = np.roll(a, -1, axis=-2), np.roll(a, -1, axis=-3)
    c = np.roll(b, -1, axis=-3)
    plaquettes = _triangle(a, b, c) + _triangle(a, c, d)
    if not periodic(boundary):
        plaquettes = plaquettes[..., :-1, :-1]
    charge: Array = plaquettes.sum(axis=(-2, -1)) / (4 * np.pi)
    return charge


def _triangle(a: Array, b: Array, c: Array) -> Array:
    """Signed area of spherical triangles: tan(area / 2) = a.(b x c) / (1 + a.b + b.c + c.a)."""
    volume = np.einsum("...i,...i->...", a, np.cross(b, c))
    dots = sum(np.einsum("...i,...i->...", p, q) for p, q in ((a, b), (b, c), (c, a)))
    area: Array = 2 * np.arctan2(volume, 1 + dots)
    return area


def structure_factor(spins: npt.ArrayLike, boundary: Boundary = "periodic") -> Array:
    """S(k) = |sum_i S_i exp(-i k.r_i)|^2 / sites, (..., rows, columns), k_x and k_y as `numpy.fft.fft2` orders them.

    All three components together; its mean over k is 1 for unit spins. With an open boundary at twice as many k in
    each direction, (..., 2 rows, 2 columns): its transform then holds the correlations of pairs inside the lattice.
    """
    field = spin_field(spins).astype(np.float64)
    rows, columns = field.shape[-3:-1]
    grid = (rows, columns) if periodic(boundary) else (2 * rows, 2 * columns)
    transform = np.fft.fft2(field, s=grid, axes=(-3, -2))
    factor: Array = np.sum(np.abs(transform) ** 2, axis=-1) / (rows * columns)
    return factor


def structure_factor_peak(spins: npt.ArrayLike, boundary: Boundary = "periodic") -> tuple[Array, Array]:
    """Centre and width (mean and standard deviation) of |k| under the structure factor, in radians per site.

    Wave numbers up to half the zone, |k| < pi / 2, count; k = 0 does not. Scalar arrays, or (N,) for a batch.
    """
    factor = structure_factor(spins, boundary)
    ky, kx = (2 * np.pi * np.fft.fftfreq(length) for length in factor.shape[-2:])
    k = np.hypot(ky[:, None], kx)
    weight = factor * ((k > 0) & (k < np.pi / 2))
    total = weight.sum(axis=(-2, -1))
    centre = (weight * k).sum(axis=(-2, -1)) / total
    spread = (weight * k**2).sum(axis=(-2, -1)) / total - centre**2
    return centre, np.sqrt(spread)


def wall_length(spins: npt.ArrayLike, boundary: Boundary = "periodic") -> Array:
    """Length of the walls between up and down domains per site: neighbour bonds across which S_z changes its sign.

    Counted along rows and columns; a straight wall along an axis has its true length, a diagonal one sqrt(2) times.
    """
    up = spin_field(spins)[..., 2] > 0
    below, left = (up != np.roll(up, 1, axis) for axis in (-2, -1))
    if not periodic(boundary):
        below[..., 0, :] = left[..., 0] = False
    length: Array = np.mean(np.add(below, left, dtype=np.float64), axis=(-2, -1))
    return length
