"""Views of fields that are known at every point: waves, and vectors that turn with the picture."""

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.imaging.views import view


def _wave(x, y):
    """A radial pattern in the plane and a wave in S_z, with the period of the lattice of 96 sites."""
    phase = 2 * np.pi * (4 * x + 2 * y) / 96
    return np.stack([np.cos(phase), np.zeros_like(phase), np.sin(phase)], axis=-1)


def _field(side=96):
    y, x = np.mgrid[:side, :side]
    return _wave(x, y)


def test_a_view_of_the_whole_lattice_is_the_field():
    np.testing.assert_allclose(view(_field(), (96, 96)), _field(), atol=1e-6)


@pytest.mark.parametrize(("angle", "pitch"), [(0.0, 0.5), (30.0, 1.0), (-17.0, 0.8)])
def test_a_view_shows_the_field_at_the_points_of_the_picture(angle, pitch):
    rows, columns = 40, 50
    found = view(_field(), (rows, columns), angle, pitch)
    turn = np.radians(angle)
    v, u = np.mgrid[:rows, :columns] * pitch - pitch * np.array([rows - 1, columns - 1])[:, None, None] / 2
    exact = _wave(47.5 + np.cos(turn) * u - np.sin(turn) * v, 47.5 + np.sin(turn) * u + np.cos(turn) * v)
    # The axes of the picture are turned by the angle, so a vector along the lattice's x turns by its opposite.
    along = exact[..., 0]
    exact[..., :2] = np.stack([np.cos(turn) * along, -np.sin(turn) * along], axis=-1)
    np.testing.assert_allclose(found, exact, atol=5e-4)


def test_a_view_larger_than_the_field_is_refused():
    with pytest.raises(InputError, match="larger than the field"):
        view(_field(), (80, 80), 30.0)
