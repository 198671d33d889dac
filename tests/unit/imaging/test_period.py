"""Periods of textures against those of sine waves, and of the spiral of exchange and DMI."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rayspin.imaging.period import texture_period

ROWS, COLUMNS = np.mgrid[:120, :90]


@pytest.mark.parametrize("period", [6.0, 13.7, 21.6, 35.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2])
def test_period_of_a_sine_wave(period: float, angle: float) -> None:
    wave = np.sin(2 * np.pi * (COLUMNS * math.cos(angle) + ROWS * math.sin(angle)) / period + 0.3)
    assert texture_period(3 + 0.2 * wave) == pytest.approx(period, rel=0.04)


def test_image_without_texture_has_no_period() -> None:
    assert math.isnan(texture_period(np.ones((30, 40))))
    assert math.isnan(texture_period(np.ones((4, 40))))
