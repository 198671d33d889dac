"""Periods of textures against those of sine waves, and of the spiral of exchange and DMI."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rayspin.imaging.period import resized, texture_period

ROWS, COLUMNS = np.mgrid[:120, :90]


@pytest.mark.parametrize("period", [6.0, 13.7, 21.6, 35.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2])
def test_period_of_a_sine_wave(period: float, angle: float) -> None:
    wave = np.sin(2 * np.pi * (COLUMNS * math.cos(angle) + ROWS * math.sin(angle)) / period + 0.3)
    assert texture_period(3 + 0.2 * wave) == pytest.approx(period, rel=0.04)


def test_image_without_texture_has_no_period() -> None:
    assert math.isnan(texture_period(np.ones((30, 40))))
    assert math.isnan(texture_period(np.ones((4, 40))))


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_resized_image_shows_the_same_wave_at_the_same_place(factor: float) -> None:
    def wave(rows: int, columns: int, period: float) -> np.ndarray:
        # Pixels of both images cover the same area, so their centers count.
        y, x = ((np.arange(side) + 0.5) for side in (rows, columns))
        return np.sin(2 * np.pi * (x + 2 * y[:, None]) / period).astype(np.float32)

    image = np.stack([wave(100, 80, 40), np.ones((100, 80))], axis=-1).astype(np.float32)
    found = resized(image, factor)
    assert found.shape == (round(100 * factor), round(80 * factor), 2)
    expected = wave(*found.shape[:2], 40 * factor)
    inside = slice(3, -3)
    np.testing.assert_allclose(found[inside, inside, 0], expected[inside, inside], atol=0.03)
    np.testing.assert_allclose(found[..., 1], 1, atol=1e-6)


def test_resized_step_does_not_overshoot() -> None:
    step = np.repeat([[0.0] * 8 + [1.0] * 8], 4, axis=0).astype(np.float32)[..., None]
    found = resized(step, 3.0)
    assert (found.min(), found.max()) == (0, 1)
