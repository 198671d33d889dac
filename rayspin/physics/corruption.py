"""Damaged spin fields: the inputs of the denoising and inpainting experiments of the 2021 paper.

All functions take spins (rows, columns, 3), or a batch of them (N, rows, columns, 3), and return a changed
copy, float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayspin.physics.arguments import number, spin_field, whole
from rayspin.rng import Seed, generator

Spins = npt.NDArray[np.float32]

_LARGEST_NOISE = 1e18
"""Amplitude beyond which the squares of float32 vectors overflow."""


def noisy(spins: npt.ArrayLike, amplitude: float, seed: Seed) -> Spins:
    """S' = (S + amplitude R) / |S + amplitude R|, R a random unit vector at each site; where the sum is 0 so is S'.

    Args:
        spins: unit spins.
        amplitude: the papers' alpha, not negative; 0 returns the spins, a large one pure noise.
        seed: address of the noise, the root seed first.
    """
    amplitude = number("noise_amplitude", amplitude, 0, _LARGEST_NOISE)
    clean = _single(spins)
    return _normalized(clean + amplitude * _random_directions(clean.shape, seed))


def defect_rows(spins: npt.ArrayLike, count: int, seed: Seed) -> Spins:
    """The spins with the `count` middle rows replaced by random unit vectors."""
    damaged = _single(spins).copy()
    rows = _middle(damaged.shape[-3], count, "defect_rows")
    damaged[..., rows, :, :] = _random_directions(damaged[..., rows, :, :].shape, seed)
    return damaged


def defect_square(spins: npt.ArrayLike, width: int) -> Spins:
    """The spins with a centred square of `width` sites erased: set to zero, so not of unit length there."""
    damaged = _single(spins).copy()
    rows, columns = (_middle(damaged.shape[axis], width, "defect_square") for axis in (-3, -2))
    damaged[..., rows, columns, :] = 0
    return damaged


def out_of_plane_only(spins: npt.ArrayLike) -> Spins:
    """(0, 0, S_z): what a microscope that sees one component gives."""
    return _single(spins) * np.array([0, 0, 1], np.float32)


def _single(spins: npt.ArrayLike) -> Spins:
    return spin_field(spins).astype(np.float32, copy=False)


def _middle(length: int, count: int, where: str) -> slice:
    count = whole(where, count, 0, length)
    start = (length - count) // 2
    return slice(start, start + count)


def _random_directions(shape: tuple[int, ...], seed: Seed) -> Spins:
    """Unit vectors, uniform on the sphere: directions of isotropic Gaussians."""
    return _normalized(generator("corruption", seed).standard_normal(shape, np.float32))


def _normalized(vectors: npt.NDArray[np.floating]) -> Spins:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    normalized: Spins = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0).astype(np.float32)
    return normalized
