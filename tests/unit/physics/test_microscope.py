"""Synthetic images: their blur, statistics of their noise, and the order of their steps."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.physics import Degradation, Microscope
from tests.support import reference

SPINS = reference.random_spins(np.random.default_rng(1), 2, 32, 48).astype(np.float32)
UP = np.broadcast_to(np.float32([0, 0, 1]), (64, 64, 3))


def test_default_is_the_degradation():
    image = Microscope().image(SPINS, 4, 0)
    np.testing.assert_allclose(image, Degradation().apply(SPINS, 4), atol=1e-6)
    average = Degradation(sigma=1.3, sampling="average", mosaic=2)
    np.testing.assert_allclose(Microscope(degradation=average).image(SPINS, 4, 0), average.apply(SPINS, 4), atol=1e-6)


def spread(microscope: Microscope) -> tuple[float, float]:
    """Standard deviations, along y and x, of the image of a point in the middle of a lattice."""
    rows, columns = microscope.matrices((33, 33), 1)
    offsets = np.arange(33) - 16
    return tuple(float(np.sqrt((matrix[16] * offsets**2).sum())) for matrix in (rows, columns))  # type: ignore[return-value]


def test_widths_of_blurs():
    wide = Degradation(sigma=2.0)
    assert spread(Microscope(degradation=wide)) == pytest.approx((2.0, 2.0), rel=1e-3)
    assert spread(Microscope(degradation=wide, aspect=1.44)) == pytest.approx((2.0 / 1.2, 2.0 * 1.2), rel=1e-3)
    # Sites of width 1 at the ends of the box blur it further.
    assert spread(Microscope(degradation=wide, blur="box")) == pytest.approx((2.0, 2.0), rel=0.03)


def test_a_box_of_three_sites_is_their_mean():
    three = Microscope(degradation=Degradation(sigma=3 / np.sqrt(12)), blur="box")
    rows = SPINS.astype(np.float64)
    for axis in (1, 2):
        rows = (rows + np.roll(rows, 1, axis) + np.roll(rows, -1, axis)) / 3
    np.testing.assert_allclose(three.image(SPINS, 1, 0), rows, atol=1e-6)


@pytest.mark.parametrize("spin", [(0, 0, 1), (0.6, 0, -0.8)])
def test_shot_noise_has_the_variance_of_counts(spin):
    """The difference of two Poisson numbers has the sum of their means as its variance, at every S_c."""
    field = np.broadcast_to(np.float32(spin), (96, 96, 3))
    image = Microscope(counts=400.0).image(field, 1, 5)
    pixels = 96 * 96
    error = 1 / np.sqrt(400)
    np.testing.assert_allclose(image.mean(axis=(0, 1)), spin, atol=5 * error / np.sqrt(pixels))
    np.testing.assert_allclose(image.std(axis=(0, 1)), error, rtol=5 / np.sqrt(2 * pixels))
    levels = np.unique(image) * 400
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)


def test_illumination_dims_signal_and_noise():
    microscope = Microscope(counts=100.0, illumination=(0.8, 0.0))
    columns = microscope.image(np.broadcast_to(np.float32([0, 0, 1]), (4000, 8, 3)), 1, 2)[..., 2]
    light = 1 + 0.8 * (np.arange(8) - 3.5) / 4
    np.testing.assert_allclose(columns.mean(axis=0), light, atol=5 * 0.14 / np.sqrt(4000))
    np.testing.assert_allclose(columns.var(axis=0), light / 100, rtol=0.12)


def test_background_gain_and_offset_in_this_order():
    microscope = Microscope(background=(0.2, -0.1, 0.0, 0.3), gain=(1, 1, 2), offset=(0, 0, 0.05))
    image = microscope.image(UP, 8, 0)
    x = (np.arange(8) - 3.5) / 4
    background = 0.2 * x[None, :] - 0.1 * x[:, None] + 0.3 * x[None, :] * x[:, None]
    np.testing.assert_allclose(image[..., 0], background, atol=1e-6)
    np.testing.assert_allclose(image[..., 2], 2 * (1 + background) + 0.05, atol=1e-6)


def test_one_component_and_addresses():
    noisy = Microscope(counts=50.0)
    assert np.array_equal(noisy.image(SPINS, 4, (1, 2)), noisy.image(SPINS, 4, (1, 2)))
    assert not np.array_equal(noisy.image(SPINS, 4, (1, 2)), noisy.image(SPINS, 4, (1, 3)))
    single = Microscope(components="z", gain=(5, 5, 0.5)).image(SPINS, 4, 0)
    assert single.shape == (2, 8, 12, 1)
    np.testing.assert_allclose(single[..., 0], Degradation().apply(SPINS, 4)[..., 2] / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Microscope(illumination=(0.7, -0.4)), "illumination: .* negative illumination"),
        (lambda: Microscope(counts=0.0), "counts: 0.0 is invalid"),
        (lambda: Microscope(background=(1.0,) * 6), "background"),
        (lambda: Microscope().image(SPINS, 5, 0), "don't divide into blocks of 5"),
        (lambda: Microscope().image(SPINS[..., :2], 4, 0), "spins: have shape"),
    ],
)
def test_invalid_microscopes_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
