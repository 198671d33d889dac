"""Checks of coarse spins, of the shifts between observations, and of masks of missing pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError, shown
from rayspin.physics.arguments import vectors, whole

Mask = npt.NDArray[np.bool_]

# Coarse spins are averages of unit spins; they exceed length 1 by rounding only.
_ROUNDING = 1e-3

# Largest shift, sites.
_FARTHEST = 2**14


def shift_pairs(shifts: Sequence[tuple[int, int]] | None) -> tuple[tuple[int, int], ...]:
    """Return the shifts of the observations, (0, 0) for a single one.

    Raises:
        InputError: they are not pairs of whole numbers.
    """
    if shifts is None:
        return ((0, 0),)
    pairs = np.asarray(shifts, dtype=object)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise InputError("shifts", f"{shown(shifts)} is invalid", "give (rows, columns) for each observation, in sites")
    return tuple((_sites(rows), _sites(columns)) for rows, columns in pairs.tolist())


def _sites(value: object) -> int:
    return whole("shifts", value, -_FARTHEST, _FARTHEST)


def known_pixels(known: npt.ArrayLike | None, shape: tuple[int, ...]) -> Mask | None:
    """Return the mask of known pixels in the shape of the coarse spins, or None if there is none.

    Raises:
        InputError: the mask has another shape, is not of booleans, or leaves a field without pixels.
    """
    if known is None:
        return None
    found: npt.NDArray[Any] = np.asarray(known)
    if found.dtype != bool or found.shape != shape[-found.ndim :]:
        problem = f"has shape {found.shape} and dtype {found.dtype}"
        raise InputError("known", problem, f"give booleans {shape}, False where a pixel is missing")
    mask: Mask = np.broadcast_to(found, shape)
    if not mask.any(axis=(-2, -1)).all():
        raise InputError("known", "has no pixel in some field", "leave out such fields")
    return mask


def coarse_spins(
    values: npt.ArrayLike, known: Mask | None, observations: int | None, longest: float | None
) -> npt.NDArray[np.floating]:
    """Return coarse spins with zeros for missing pixels.

    Args:
        values: coarse spins, (N, Y, X, C) or (Y, X, C), or (N, K, Y, X, C) or (K, Y, X, C) of several observations; C
            is 3, or 1 for S_z alone.
        known: False where a pixel is missing, in the shape of the coarse spins without the last axis.
        observations: K, or None if there is no axis of observations.
        longest: largest valid length, if there is one.

    Raises:
        InputError: the shape is wrong, a known value is not finite, or a spin is too long.
    """
    coarse = _real(values)
    axes = (3, 4) if observations is None else (4, 5)
    if coarse.ndim not in axes or (observations is not None and coarse.shape[-4] != observations):
        between = "" if observations is None else f"{observations}, "
        remedy = f"give (N, {between}rows, columns, 3), or ({between}rows, columns, 3) for one field"
        raise InputError("coarse spins", f"have shape {coarse.shape}", remedy)
    if known is not None:
        coarse = np.where(known[..., None], coarse, 0)
    if not np.isfinite(coarse).all():
        remedy = "mark missing pixels by known, False there"
        raise InputError("coarse spins", "are not all finite", remedy)
    length = float(np.linalg.norm(coarse, axis=-1).max())
    if longest is not None and length > longest + _ROUNDING:
        remedy = "give the noise, set any_length, or correct them by rayspin.reconstruction.calibrate"
        raise InputError("coarse spins", f"have lengths up to {length:.4g}, above 1", remedy)
    return coarse


def without_gaps(coarse_NKYXC: npt.NDArray[np.floating], known_NKYX: Mask | None) -> npt.NDArray[np.floating]:
    """Return coarse spins with missing pixels filled from their neighbors, as a guess."""
    if known_NKYX is None:
        return coarse_NKYXC
    filled, done = np.where(known_NKYX[..., None], coarse_NKYXC, 0), known_NKYX
    while not done.all():
        counts = sum(np.roll(done, move, (-2, -1)).astype(float) for move in _AROUND)
        sums = sum(np.roll(filled, move, (-3, -2)) for move in _AROUND)
        new = ~done & (counts > 0)
        filled = np.where(new[..., None], sums / np.maximum(counts, 1)[..., None], filled)
        done = done | new
    return filled


_AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]


def _real(values: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """Return values as float32 or float64 with a last axis of 1 or 3 components."""
    shape = np.shape(values)
    if len(shape) > 2 and shape[-1] == 1:
        return vectors("coarse spins", np.repeat(np.asarray(values), 3, axis=-1))[..., :1]
    return vectors("coarse spins", values)
