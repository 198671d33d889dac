"""Tiles against one application to the whole image."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.imaging.tiles import Tiling

IMAGE = np.random.default_rng(2).normal(size=(37, 52, 2))
SCALE, REACH, STRIDE = 3, 4, 4


def blurred(image_YXC: np.ndarray) -> np.ndarray:
    """Mean over a square of 2 REACH + 1 pixels on a periodic image, on a finer lattice."""
    assert all(side % STRIDE == 0 for side in image_YXC.shape[:2])
    moved = [
        np.roll(image_YXC, (row, column), axis=(0, 1))
        for row in range(-REACH, REACH + 1)
        for column in range(-REACH, REACH + 1)
    ]
    return np.repeat(np.repeat(np.mean(moved, axis=0), SCALE, axis=0), SCALE, axis=1)


@pytest.mark.parametrize(("edges", "mode"), [("periodic", "wrap"), ("mirrored", "symmetric")])
@pytest.mark.parametrize("side", [12, 20, 64, 1024])
def test_tiles_equal_the_padded_whole(edges: str, mode: str, side: int) -> None:
    tiling = Tiling(edges, margin=REACH, stride=STRIDE, scale=SCALE, side=side)
    pad = 32
    padded = np.pad(IMAGE, ((pad, pad + 3), (pad, pad), (0, 0)), mode=mode)
    inside = slice(SCALE * pad, SCALE * (pad + 37)), slice(SCALE * pad, SCALE * (pad + 52))
    np.testing.assert_allclose(tiling.apply(blurred, IMAGE), blurred(padded)[inside], atol=1e-12)


def test_periodic_image_that_fits_is_given_whole() -> None:
    seen = []
    Tiling("periodic", margin=8, stride=4, side=64).apply(lambda tile: seen.append(tile.shape) or tile, IMAGE[:36])
    assert seen == [(36, 52, 2)]


def test_image_smaller_than_the_margin_is_repeated() -> None:
    small = IMAGE[:3, :2]
    result = Tiling("mirrored", margin=8, stride=4).apply(lambda tile: tile, small)
    np.testing.assert_array_equal(result, small)
