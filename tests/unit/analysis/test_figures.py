"""Colours of spins, as in both papers."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.analysis.figures import spin_colours


@pytest.mark.parametrize(
    ("spin", "colour"),
    [
        ((0, 0, 1), (1, 1, 1)),
        ((0, 0, -1), (0, 0, 0)),
        ((1, 0, 0), (1, 0, 0)),
        ((-1, 0, 0), (0, 1, 1)),
        ((0, 0, 0), (0.5, 0.5, 0.5)),
    ],
)
@pytest.mark.parametrize("length", [1.0, 0.1])
def test_colour_is_that_of_the_direction(spin: tuple[float, ...], colour: tuple[float, ...], length: float) -> None:
    np.testing.assert_allclose(spin_colours(length * np.array([[spin]], float))[0, 0], colour, atol=1e-12)
