"""Observables of spins (rows, columns, 3), or batches (N, rows, columns, 3), computed in float64.

The boundary is periodic by default. With an open boundary, nothing is counted across the edges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.physics._texture_kernels import charge_of, domain_sizes
from rayspin.physics.arguments import Boundary, periodic, spin_field, unit_spins, whole
from rayspin.physics.walls import crossing

Array = npt.NDArray[np.float64]

_UNIFORM = 1e-24
"""Mean square deviation from the mean spin, relative to the mean square, below which spins count as uniform: the
rounding of float64, with a margin."""


def magnetization(spins: npt.ArrayLike) -> Array:
    """Return the mean spin vector, (3,), or (N, 3) for a batch.

    Args:
        spins: spins of any length.

    Raises:
        InputError: the spins are invalid.
    """
    mean: Array = spin_field(spins).astype(np.float64).mean(axis=(-3, -2))
    return mean


def topological_charge(spins: npt.ArrayLike, boundary: Boundary = "periodic", *, any_length: bool = False) -> Array:
    """Return the topological charge, the number of times that the spins wrap the unit sphere.

    The charge is the signed area of the spherical triangles spanned by the two halves of each plaquette, divided by
    4 pi (Berg and Luescher, Nucl. Phys. B 190, 412 (1981)). With x along columns and y along rows, a skyrmion with
    S_z < 0 at its core in a background of S_z > 0 has charge -1. Coplanar spins have charge 0 in any order.

    Args:
        spins: unit spins.
        boundary: "periodic" or "open"; the charge is an integer if periodic.
        any_length: accept spins of any length, whose directions count. It is an integer only if no spin is zero.

    Returns:
        a scalar array, or (N,) for a batch.

    Raises:
        InputError: an argument is invalid.
    """
    field = spin_field(spins) if any_length else unit_spins(spins)
    closed = periodic(boundary)
    charges = np.array([charge_of(sample, closed) for sample in _contiguous(field)])
    return charges.reshape(field.shape[:-3])


def isolated_domains(
    spins: npt.ArrayLike, sites: tuple[int, int], boundary: Boundary = "periodic"
) -> npt.NDArray[np.int64]:
    """Return the number of isolated domains that are magnetized against the mean S_z, such as skyrmions in a field.

    A domain is a set of sites with S_z of the other sign than the mean, connected through nearest neighbors. If the
    mean is not negative, domains of S_z < 0 are counted.

    Args:
        spins: spins of any length.
        sites: least and largest number of sites of a domain that is counted. A skyrmion in a labyrinth whose period is
            p has less than pi p^2 / 4 sites, the disc with the diameter p.
        boundary: "periodic" or "open".

    Returns:
        a scalar array, or (N,) for a batch.

    Raises:
        InputError: an argument is invalid.
    """
    field, closed = spin_field(spins), periodic(boundary)
    least, largest = (whole("sites", limit, 1) for limit in sites)
    masks = (sample[..., 2] < 0 if sample[..., 2].mean() >= 0 else sample[..., 2] > 0 for sample in _contiguous(field))
    sizes = (domain_sizes(mask, closed) for mask in masks)
    counts = np.array([np.count_nonzero((least <= found) & (found <= largest)) for found in sizes], np.int64)
    return counts.reshape(field.shape[:-3])


def _contiguous(field: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return a batch (N, rows, columns, 3), contiguous and writable, so that kernels are compiled once."""
    return np.require(field.reshape(-1, *field.shape[-3:]), requirements=["C", "W"])


def structure_factor(spins: npt.ArrayLike, boundary: Boundary = "periodic") -> Array:
    """Return the structure factor S(k) = |sum_i S_i exp(-i k.r_i)|^2 / sites, summed over components.

    Its mean over k is 1 for unit spins. k_x and k_y are ordered as in `numpy.fft.fft2`. With an open boundary it is
    computed at twice as many k in each direction, so that its transform contains the correlations of pairs inside the
    lattice.

    Args:
        spins: spins of any length.
        boundary: "periodic" or "open".

    Returns:
        (..., rows, columns), or (..., 2 rows, 2 columns) for an open boundary.

    Raises:
        InputError: an argument is invalid.
    """
    field = spin_field(spins).astype(np.float64)
    rows, columns = field.shape[-3:-1]
    grid = (rows, columns) if periodic(boundary) else (2 * rows, 2 * columns)
    transform = np.fft.fft2(field, s=grid, axes=(-3, -2))
    factor: Array = np.sum(np.abs(transform) ** 2, axis=-1) / (rows * columns)
    return factor


def structure_factor_peak(spins: npt.ArrayLike, boundary: Boundary = "periodic") -> tuple[Array, Array]:
    """Return the mean and the standard deviation of |k|, weighted by the structure factor, in radians per site.

    They are the center and the width of the peak. The mean spin is subtracted first. |k| covers the whole Brillouin
    zone: it reaches pi along an axis and sqrt(2) pi = 4.44 in the corner (pi, pi). Thermal disorder contributes
    throughout the zone, so the mean for a hot field is not the center of its peak. Towards open edges the spins are
    tapered (Hann window, sin^2), because the step at the edge would contribute waves. For uniform spins, including a
    single site, both values are 0.

    Args:
        spins: spins of any length.
        boundary: "periodic" or "open".

    Returns:
        center and width: scalar arrays, or (N,) for a batch.

    Raises:
        InputError: an argument is invalid.
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
    """Return the length of the walls between up and down domains per site, in sites: that of the line S_z = 0.

    S_z is interpolated between neighbors (marching squares), so the length of a smooth wall does not depend on its
    direction. If the line crosses all four sides of a plaquette, the mean S_z decides which corners are connected. With
    an open boundary the line ends at the outermost sites.

    Args:
        spins: spins of any length.
        boundary: "periodic" or "open".

    Returns:
        a scalar array, or (N,) for a batch.

    Raises:
        InputError: an argument is invalid.
    """
    a = spin_field(spins)[..., 2].astype(np.float64)
    b, d = np.roll(a, -1, axis=-1), np.roll(a, -1, axis=-2)
    c = np.roll(b, -1, axis=-2)
    # Where the line crosses the sides of the plaquette a, b, c, d: distances from a or d along x, from a or b along y.
    above, below, left, right = crossing(a, b), crossing(d, c), crossing(a, d), crossing(b, c)
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
