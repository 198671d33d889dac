"""Walls between up and down domains as lines on the periodic lattice: S_z = 0, and distances between such lines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics._texture_kernels import distances_to_segments
from rayspin.physics.arguments import spin_field

Array = npt.NDArray[np.float64]


def wall_segments(spins_YXC: npt.ArrayLike) -> Array:
    """Return the line S_z = 0 of a field as straight segments, (segments, 2 ends, 2), each end as (y, x) in sites.

    S_z is interpolated linearly between neighbors, and a segment joins two crossings of a plaquette (marching
    squares), so their total length is that of `rayspin.physics.observables.wall_length`. The boundary is periodic:
    coordinates reach from 0 to the number of sites.

    Args:
        spins_YXC: (rows, columns, 3) spins of any length.

    Raises:
        InputError: the spins are invalid, or not a single field.
    """
    spins = spin_field(spins_YXC)
    if spins.ndim != 3:
        raise InputError("spins", f"have shape {spins.shape}", "give a single field (rows, columns, 3)")
    a = spins[..., 2].astype(np.float64)
    b, d = np.roll(a, -1, axis=1), np.roll(a, -1, axis=0)
    c = np.roll(b, -1, axis=0)
    y, x = np.meshgrid(*(np.arange(sites, dtype=np.float64) for sites in a.shape), indexing="ij")
    above, right, below, left = crossing(a, b), crossing(b, c), crossing(d, c), crossing(a, d)
    # The crossings of the four sides, in order around the plaquette; NaN where there is none.
    sides = np.array([[y, x + above], [y + right, x + 1], [y + 1, x + below], [y + left, x]]).transpose(2, 3, 0, 1)
    crossed = np.isfinite(sides[..., 1]) & np.isfinite(sides[..., 0])
    count = crossed.sum(axis=-1)
    single = sides[count == 2][crossed[count == 2]].reshape(-1, 2, 2)
    # Where all four sides are crossed, the mean S_z decides whether the corners a and c are connected.
    saddle = count == 4
    joined = ((a > 0) == (a + b + c + d > 0))[saddle]
    around_b_and_d, around_a_and_c = sides[saddle][:, [0, 1, 2, 3]], sides[saddle][:, [0, 3, 1, 2]]
    pairs = np.where(joined[:, None, None], around_b_and_d, around_a_and_c).reshape(-1, 2, 2)
    return np.concatenate([single, pairs])


def wall_distances(segments: Array, others: Array, shape: tuple[int, int]) -> Array:
    """Return the distance from the middle of each segment to the nearest point of other segments, in sites.

    Args:
        segments: (n, 2, 2) segments, as from `wall_segments`.
        others: (m, 2, 2) segments; m is at least 1.
        shape: (rows, columns) of the periodic lattice.

    Returns:
        (n,) distances.
    """
    middles, centres = segments.mean(axis=1), others.mean(axis=1)
    halves = (others[:, 1] - others[:, 0]) / 2
    distances: Array = distances_to_segments(middles, centres, halves, float(shape[0]), float(shape[1]))
    return distances


def crossing(start: Array, end: Array) -> Array:
    """Return where S_z crosses 0 between two neighbors, from 0 to 1, or NaN if it does not."""
    crossed = (start > 0) != (end > 0)
    return np.divide(start, start - end, out=np.full_like(start, np.nan), where=crossed)
