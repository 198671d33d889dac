"""Gray levels of images whose spins are known: made by an imaging process with a background and uneven illumination."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.imaging import levels
from rayspin.imaging.levels import Levels
from rayspin.physics import Microscope

SIDE = 96
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
STRIPES = np.sin(2 * np.pi * (ROWS + COLUMNS) / 30)
"""A component of a labyrinth: at the levels for a part of each period only."""
DOMAINS = np.clip(np.hypot(ROWS - 30, COLUMNS - 60) - 25, -3, 3) / 3
"""A round domain of -1 in one of +1, and its wall."""
UNEVEN = Microscope(
    illumination=(0.25, -0.15), background=(0.6, -0.3, 0.4, 0.0, 0.2), gain=(1.0, 1.0, 57.0), offset=(0.0, 0.0, 130.0),
    components="z", degradation={"sigma": 0.0},
)  # fmt: skip
NOISY = UNEVEN.with_updates(counts=400.0)


def image(component: np.ndarray, microscope: Microscope = UNEVEN) -> np.ndarray:
    spins = np.stack([np.sqrt(1 - component**2), np.zeros_like(component), component], axis=-1)
    return microscope.image(spins[None], 1, seed=(5,))[..., 0]


def error(component: np.ndarray, gray: np.ndarray, levels: Levels) -> float:
    known = np.ones(gray.shape, bool)
    return float(np.sqrt(np.mean((levels.component(gray, known)[0] - component) ** 2)))


@pytest.mark.parametrize("component", [STRIPES, DOMAINS], ids=["stripes", "domains"])
def test_background_and_illumination_are_removed(component: np.ndarray) -> None:
    gray = image(component)
    assert error(component, gray, Levels()) < 0.06
    assert error(component, gray, Levels(background="none")) > 0.3


@pytest.mark.parametrize("component", [STRIPES, DOMAINS], ids=["stripes", "domains"])
def test_noise_adds_little_but_itself(component: np.ndarray) -> None:
    # The standard deviation of the noise is sqrt(1 / 400).
    assert error(component, image(component, NOISY), Levels()) < 0.06 + 0.05


def test_known_limits_are_used_as_they_are() -> None:
    gray = (100 + 40 * STRIPES)[None]
    assert error(STRIPES, gray, Levels(limits=(60, 140))) == pytest.approx(0, abs=1e-6)
    assert error(-STRIPES, gray, Levels(limits=(60, 140), inverted=True)) == pytest.approx(0, abs=1e-6)
    # Beyond its limits, a component is clipped.
    narrow = Levels(limits=(80, 120)).component(gray, np.ones(gray.shape, bool))
    np.testing.assert_allclose(narrow[0], np.clip(2 * STRIPES, -1, 1), atol=1e-6)


@pytest.mark.parametrize("background", ["none", "plane", "quadratic"])
def test_levels_are_told(background: str) -> None:
    gray, known = 100 + 40 * DOMAINS, np.ones((SIDE, SIDE), bool)
    np.testing.assert_allclose(Levels(background=background).means(gray, known), (60, 140), atol=2)
    np.testing.assert_allclose(Levels(background=background, inverted=True).means(gray, known), (140, 60), atol=2)
    assert Levels(limits=(50, 90)).means(gray, known) == (50, 90)


@pytest.mark.parametrize("blocks", [61, 63, 64])
def test_blocks_of_a_large_image_tell_its_background(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of the blocks of a large image are used, and they may not lie on a line."""
    monkeypatch.setattr(levels, "_BLOCK", 16)
    rows, columns = np.mgrid[: 16 * blocks, : 16 * blocks] / (8 * blocks) - 1
    component = np.clip(3 * np.sin(60 * (rows + 0.7 * columns)), -1, 1)
    gray = 100 + 30 * rows**2 - 40 * rows * columns + 20 * columns + (50 + 10 * rows) * component
    noise = np.random.default_rng(6).normal(0, 5, gray.shape)
    assert error(component, (gray + noise)[None], Levels(smoothing=0)) < 0.2


def test_result_does_not_depend_on_the_unit_of_the_levels() -> None:
    gray, known = image(STRIPES), np.ones((1, SIDE, SIDE), bool)
    np.testing.assert_allclose(Levels().component(gray, known), Levels().component(1e-3 * gray - 7, known), atol=2e-3)
    np.testing.assert_allclose(Levels(inverted=True).component(gray, known), -Levels().component(gray, known))


def test_unknown_pixels_have_no_influence_and_are_zero() -> None:
    gray = image(STRIPES)
    known = np.ones(gray.shape, bool)
    known[0, 20:40, 30:50] = False
    spoiled = np.where(known, gray, 1e4)
    result = Levels().component(spoiled, known)[0]
    assert (result[~known[0]] == 0).all()
    assert np.sqrt(np.mean((result - STRIPES)[known[0]] ** 2)) < 0.06


@pytest.mark.parametrize(
    ("gray", "known", "problem"),
    [
        (np.full((1, 8, 8), 3.0), True, "has the same gray level, 3, almost everywhere"),
        (np.full((1, 1, 1), 3.0), True, "has the same gray level"),
        (np.ones((1, 8, 8)), False, "has no known pixels"),
        (1.0 * ROWS[None], True, "is not of two phases"),
    ],
)
def test_image_without_two_levels_is_refused(gray: np.ndarray, known: bool, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        Levels().component(gray, np.full(gray.shape, known))


@pytest.mark.parametrize("key", ["percentiles", "limits"])
def test_levels_out_of_order_are_refused(key: str) -> None:
    with pytest.raises(InputError, match="not in ascending order"):
        Levels(**{key: (90.0, 10.0)})


def test_three_images_share_the_contrast_of_the_third_and_have_their_own_middles() -> None:
    """Walls of a round domain, in whose images of S_x and S_y most pixels have the middle level."""
    angle = np.arctan2(ROWS - 30, COLUMNS - 60)
    plane = np.sqrt(1 - DOMAINS**2)
    spins = np.stack([plane * np.cos(angle), plane * np.sin(angle), DOMAINS], axis=-1)
    optics = {"degradation": {"sigma": 0.0}, "gain": (57.0, 57.0, 57.0), "offset": (130.0, 90.0, -20.0)}
    gray = Microscope(**optics).image(spins[None], 1, seed=(5,))
    known = np.ones((1, SIDE, SIDE), bool)
    np.testing.assert_allclose(Levels(smoothing=0).spins(gray, known), spins[None], atol=0.03)
    np.testing.assert_allclose(Levels(smoothing=0, inverted=True).spins(gray, known), -spins[None], atol=0.03)
    known[0, :50] = False
    assert not Levels(smoothing=0).spins(gray, known)[~known].any()
