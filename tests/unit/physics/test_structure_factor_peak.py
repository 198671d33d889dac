"""Center and width of the structure factor's peak for exact spirals of the whole zone and fields without a peak."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics.observables import structure_factor_peak

SHAPES = [(16, 16), (12, 20), (7, 9), (1, 10), (2, 2), (1, 2)]


def spiral(shape, turns, plane=((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))):
    """Spins (rows, columns, 3) that rotate in a plane, with `turns` (along y, along x) periods."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle = 2 * np.pi * (turns[0] * y / shape[0] + turns[1] * x / shape[1])
    return np.cos(angle)[..., None] * np.array(plane[0]) + np.sin(angle)[..., None] * np.array(plane[1])


def wave_number(shape, turns):
    """|k| of the spiral in the first Brillouin zone, where k is from -pi to pi along each axis."""
    return np.hypot(*(2 * np.pi * min(n, sites - n) / sites for n, sites in zip(turns, shape)))


@pytest.mark.parametrize("shape", SHAPES)
def test_peak_of_a_spiral_is_at_its_wave_vector(shape):
    vectors = [turns for turns in np.ndindex(shape) if any(turns)]
    fields = np.stack([spiral(shape, turns) for turns in vectors])
    center, width = structure_factor_peak(fields)
    assert center == pytest.approx([wave_number(shape, turns) for turns in vectors], abs=1e-9)
    assert width == pytest.approx(np.zeros(len(vectors)), abs=1e-6)


@pytest.mark.parametrize(
    ("turns", "expected"),
    [((8, 8), np.sqrt(2) * np.pi), ((8, 0), np.pi), ((4, 4), np.pi / np.sqrt(2)), ((7, 8), np.hypot(7, 8) * np.pi / 8)],
    ids=["Neel state", "stripes", "exchange zero", "antiferromagnet with DMI"],
)
def test_peaks_of_known_ground_states(turns, expected):
    """With DMI alone spins rotate by 90 degrees per site along the diagonal; antiferromagnets peak at (pi, pi)."""
    center, width = structure_factor_peak(spiral((16, 16), turns).astype(np.float32))
    assert center == pytest.approx(expected, rel=1e-6)
    assert width == pytest.approx(0, abs=1e-3)


def test_two_equal_peaks_give_their_mean_and_half_their_distance():
    field = np.zeros((16, 16, 3))
    phase = 2 * np.pi * np.arange(16) / 16
    field[..., 0] = np.cos(2 * phase)
    field[..., 1] = np.cos(6 * phase)[:, None]
    center, width = structure_factor_peak(field)
    assert center == pytest.approx(4 * 2 * np.pi / 16)
    assert width == pytest.approx(2 * 2 * np.pi / 16)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (7, 9), (64, 64)])
def test_uniform_spins_have_no_peak(shape, dtype, boundary):
    """Center and width are 0, without rounding noise, for vectors of any direction and length."""
    for vector in ([0.0, 0.0, 1.0], [1 / np.sqrt(3), 1 / np.sqrt(5), np.sqrt(7 / 15)], [1e3 / 7, 0.3, 1e-3], [0, 0, 0]):
        field = np.broadcast_to(np.array(vector, dtype), (*shape, 3))
        assert structure_factor_peak(field, boundary) == (0.0, 0.0)


def test_uniform_field_in_a_batch_does_not_affect_others():
    uniform = np.broadcast_to([0.0, 0.6, 0.8], (8, 8, 3))
    center, width = structure_factor_peak(np.stack([uniform, spiral((8, 8), (0, 1)), uniform]))
    assert center == pytest.approx([0, 2 * np.pi / 8, 0])
    assert width == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("turns", [(0, 5), (9, 3), (20, 25), (32, 32)])
def test_peak_of_an_open_spiral_is_at_its_wave_vector(turns):
    center, width = structure_factor_peak(spiral((64, 64), turns), "open")
    assert center == pytest.approx(wave_number((64, 64), turns), rel=0.02)
    # The bound is the resolution of 64 sites.
    assert width < 2 * 2 * np.pi / 64


def test_mean_spin_of_an_open_lattice_is_not_a_peak():
    """The uniform part of a cone, cut off at the edges, has components of all wave numbers."""
    cone = 0.2 * spiral((64, 64), (0, 16), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
    cone[..., 2] = np.sqrt(1 - 0.2**2)
    center, _ = structure_factor_peak(cone, "open")
    assert center == pytest.approx(np.pi / 2, rel=0.02)
