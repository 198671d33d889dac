"""Damaged spin fields: the inputs of the denoising and inpainting experiments of the 2021 paper.

All functions take spins (rows, columns, 3), or a batch of them (N, rows, columns, 3), and return a changed
copy, float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.rng import generator

Spins = npt.NDArray[np.float32]


def noisy(spins: npt.ArrayLike, amplitude: float, seed: Sequence[int]) -> Spins:
    """S' = (S + amplitude R) / |S + amplitude R|, R a random unit vector at each site.

    Args:
        spins: unit spins.
        amplitude: the papers' alpha, not negative; 0 returns the spins, a large one pure noise.
        seed: address of the noise, the root seed first.
    """
    if not amplitude >= 0:
        raise InputError("noise_amplitude", f"{amplitude} is negative", "give a number from 0 upwards")
    clean = np.asarray(spins, np.float32)
    return _normalized(clean + amplitude * _random_directions(clean.shape, seed))


def defect_rows(spins: npt.ArrayLike, count: int, seed: Sequence[int]) -> Spins:
    """The spins with the `count` middle rows replaced by random unit vectors."""
    damaged = np.array(spins, np.float32)
    rows = _middle(damaged.shape[-3], count, "defect_rows")
    damaged[..., rows, :, :] = _random_directions(damaged[..., rows, :, :].shape, seed)
    return damaged


def defect_square(spins: npt.ArrayLike, width: int) -> Spins:
    """The spins with a centred square of `width` sites erased: set to zero, so not of unit length there."""
    damaged = np.array(spins, np.float32)
    rows, columns = (_middle(damaged.shape[axis], width, "defect_square") for axis in (-3, -2))
    damaged[..., rows, columns, :] = 0
    return damaged


def out_of_plane_only(spins: npt.ArrayLike) -> Spins:
    """(0, 0, S_z): what a microscope that sees one component gives."""
    return np.asarray(spins, np.float32) * np.array([0, 0, 1], np.float32)


def _middle(length: int, count: int, where: str) -> slice:
    if not 0 <= count <= length:
        raise InputError(where, f"{count} of {length} sites", f"give a number from 0 to {length}")
    start = (length - count) // 2
    return slice(start, start + count)


def _random_directions(shape: tuple[int, ...], seed: Sequence[int]) -> Spins:
    """Unit vectors, uniform on the sphere: directions of isotropic Gaussians."""
    return _normalized(generator("corruption", seed).standard_normal(shape, np.float32))


def _normalized(vectors: npt.NDArray[np.floating]) -> Spins:
    normalized: Spins = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return normalized
