"""What is measured on spin fields, (rows, columns, 3) or (N, rows, columns, 3), in float64.

Fields are periodic unless their boundary is said to be "open": then nothing is counted over the edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.physics.arguments import Boundary, periodic, spin_field, unit_spins

Array = npt.NDArray[np.float64]

_PLANE = 1e-12
"""Products of three unit vectors below which they count as lying in one plane: float64 rounding, with a margin."""

_UNIFORM = 1e-24
"""Mean square deviation from the mean spin, relative to the mean square, that is float64 rounding, with a margin."""


def magnetization(spins: npt.ArrayLike) -> Array:
    """Mean spin vector, (3,), or (N, 3) for a batch."""
    mean: Array = spin_field(spins).astype(np.float64).mean(axis=(-3, -2))
    return mean


def topological_charge(spins: npt.ArrayLike, boundary: Boundary = "periodic") -> Array:
    """How often unit spins wrap the sphere: a scalar array, or (N,) for a batch; whole numbers if periodic.

    The signed area of the spherical triangles that each plaquette's two halves span, over 4 pi (Berg and
    Luescher, Nucl. Phys. B 190, 412 (1981)). Counted with x along columns and y along rows, a skyrmion with
    S_z < 0 at its core in a background of S_z > 0 has charge -1. Spins in one plane have none, whatever their order.
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
    # Three spins in one plane that reach around its circle bound a half of the sphere, on either side: rounding would
    # choose, for each triangle of a plane spiral anew.
    area[(np.abs(volume) < _PLANE) & (1 + dots < _PLANE)] = 0.0
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

    The structure factor is that of the spins less their mean, over the whole zone: |k| goes up to pi along an axis
    and to sqrt(2) pi, 4.44, in the corner (pi, pi). What thermal disorder spreads over the zone counts too, so that
    the centre of a hot field is not that of its peak. Towards open edges the spins are tapered off (Hann's window,
    sin^2), or the step at the edge would count as waves. Uniform spins, a single site among them, have no peak: 0
    and 0. Scalar arrays, or (N,) for a batch.
    """
    field = spin_field(spins).astype(np.float64)
    deviation = field - field.mean(axis=(-3, -2), keepdims=True)
    varies = np.square(deviation).mean(axis=(-3, -2, -1)) > _UNIFORM * np.square(field).mean(axis=(-3, -2, -1))
    if not periodic(boundary):
        rows, columns = (np.sin(np.pi * (np.arange(sites) + 0.5) / sites) ** 2 for sites in field.shape[-3:-1])
        deviation *= (rows[:, None] * columns)[..., None]
    weight = structure_factor(deviation, boundary)
    ky, kx = (2 * np.pi * np.fft.fftfreq(length) for length in weight.shape[-2:])
    k = np.hypot(ky[:, None], kx)
    weight[..., 0, 0] = 0.0
    total = np.where(varies, weight.sum(axis=(-2, -1)), np.inf)
    centre = (weight * k).sum(axis=(-2, -1)) / total
    variance = (weight * (k - centre[..., None, None]) ** 2).sum(axis=(-2, -1)) / total
    return centre, np.sqrt(variance)


def wall_length(spins: npt.ArrayLike, boundary: Boundary = "periodic") -> Array:
    """Length of the walls between up and down domains per site, in sites: of the line on which S_z = 0.

    S_z is interpolated between neighbours (marching squares; where all four sides of a plaquette are crossed, its mean
    says which corners belong together), so that the length of a smooth wall does not depend on its direction. With an
    open boundary the line ends at the outermost sites. A scalar array, or (N,) for a batch.
    """
    a = spin_field(spins)[..., 2].astype(np.float64)
    b, d = np.roll(a, -1, axis=-1), np.roll(a, -1, axis=-2)
    c = np.roll(b, -1, axis=-2)
    # Where the line crosses the sides of the plaquette a, b, c, d, seen from a or from the side of a.
    above, below, left, right = _zero(a, b), _zero(d, c), _zero(a, d), _zero(b, c)
    around_a, around_b = np.hypot(above, left), np.hypot(1 - above, right)
    around_c, around_d = np.hypot(1 - below, 1 - right), np.hypot(below, 1 - left)
    corners = [around_a, around_b, around_c, around_d]
    pieces = np.nansum([*corners, np.hypot(1, above - below), np.hypot(1, left - right)], axis=0)
    saddle = np.isfinite(around_a + around_c)
    joined = (a > 0) == (a + b + c + d > 0)
    pieces[saddle] = np.where(joined, around_b + around_d, around_a + around_c)[saddle]
    if not periodic(boundary):
        pieces[..., -1, :] = pieces[..., -1] = 0.0
    length: Array = pieces.mean(axis=(-2, -1))
    return length


def _zero(start: Array, end: Array) -> Array:
    """Where between two neighbours, from 0 to 1, S_z crosses 0; not a number if it does not."""
    crossed = (start > 0) != (end > 0)
    return np.divide(start, start - end, out=np.full_like(start, np.nan), where=crossed)
