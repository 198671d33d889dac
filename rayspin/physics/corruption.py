"""Corrupted spins: the inputs of the denoising and inpainting experiments of the 2021 paper.

Every function takes spins (rows, columns, 3), or (N, rows, columns, 3) for a batch, and returns a changed copy in
float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.physics.arguments import number, spin_field, whole
from rayspin.rng import Seed, generator

Spins = npt.NDArray[np.float32]

_LARGEST_NOISE = 1e18
"""Amplitude above which the squares of float32 vectors overflow."""


def noisy(spins: npt.ArrayLike, amplitude: float, seed: Seed) -> Spins:
    """Return S' = (S + amplitude R) / |S + amplitude R|, with a random unit vector R at each site.

    S' is 0 where the sum is 0.

    Args:
        spins: unit spins.
        amplitude: the papers' alpha, at least 0: 0 returns the spins, and a large value returns pure noise.
        seed: address of the noise, root seed first.

    Raises:
        InputError: an argument is invalid.
    """
    amplitude = number("noise_amplitude", amplitude, 0, _LARGEST_NOISE)
    clean = _single(spins)
    return _normalized(clean + amplitude * _random_directions(clean.shape, seed))


def defect_rows(spins: npt.ArrayLike, count: int, seed: Seed) -> Spins:
    """Replace the middle rows by random unit vectors.

    Args:
        spins: spins of any length.
        count: number of rows to replace.
        seed: address of the random vectors, root seed first.

    Raises:
        InputError: an argument is invalid.
    """
    damaged = _single(spins).copy()
    rows = _middle(damaged.shape[-3], count, "defect_rows")
    damaged[..., rows, :, :] = _random_directions(damaged[..., rows, :, :].shape, seed)
    return damaged


def defect_square(spins: npt.ArrayLike, width: int) -> Spins:
    """Set the spins in a centered square to zero.

    Args:
        spins: spins of any length.
        width: side of the square, sites.

    Raises:
        InputError: an argument is invalid.
    """
    damaged = _single(spins).copy()
    rows, columns = (_middle(damaged.shape[axis], width, "defect_square") for axis in (-3, -2))
    damaged[..., rows, columns, :] = 0
    return damaged


def out_of_plane_only(spins: npt.ArrayLike) -> Spins:
    """Return (0, 0, S_z), the image of a microscope that measures one component.

    Args:
        spins: spins of any length.

    Raises:
        InputError: the spins are invalid.
    """
    return _single(spins) * np.array([0, 0, 1], np.float32)


def _single(spins: npt.ArrayLike) -> Spins:
    return spin_field(spins).astype(np.float32, copy=False)


def _middle(length: int, count: int, where: str) -> slice:
    count = whole(where, count, 0, length)
    start = (length - count) // 2
    return slice(start, start + count)


def _random_directions(shape: tuple[int, ...], seed: Seed) -> Spins:
    """Return unit vectors uniform on the sphere, from normalized Gaussian vectors."""
    return _normalized(generator("corruption", seed).standard_normal(shape, np.float32))


def _normalized(vectors: npt.NDArray[np.floating]) -> Spins:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    normalized: Spins = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0).astype(np.float32)
    return normalized
