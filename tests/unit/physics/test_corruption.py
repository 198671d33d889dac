"""Noise and defects of spin fields."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.physics.corruption import defect_rows, defect_square, noisy, out_of_plane_only
from tests.support import reference

SPINS = reference.random_spins(np.random.default_rng(1), 2, 64, 64).astype(np.float32)


def test_noise_has_the_given_amplitude():
    """For S' = normalize(S + a R) and small a, the mean of S . S' is 1 - a^2 <|R_perp|^2> / 2 = 1 - a^2 / 3."""
    cosine = np.sum(SPINS * noisy(SPINS, 0.1, (1, 2)), axis=-1, dtype=np.float64)
    assert cosine.mean() == pytest.approx(1 - 0.1**2 / 3, abs=5e-5)
    assert np.allclose(noisy(SPINS, 0.0, (1, 2)), SPINS, atol=1e-6)
    pure = np.sum(SPINS * noisy(SPINS, 1e6, (1, 2)), axis=-1)
    assert abs(pure.mean()) < 4 / np.sqrt(3 * pure.size)
    assert np.allclose(np.linalg.norm(noisy(SPINS, 3.0, (1, 2)), axis=-1), 1, atol=1e-6)


def test_noise_is_reproducible_and_depends_on_the_address():
    assert np.array_equal(noisy(SPINS, 0.5, (1, 2)), noisy(SPINS, 0.5, (1, 2)))
    assert not np.array_equal(noisy(SPINS, 0.5, (1, 2)), noisy(SPINS, 0.5, (1, 3)))


def test_defects_change_the_given_sites_only():
    rows = defect_rows(SPINS, 4, (1,))
    changed = np.any(rows != SPINS, axis=(0, 2, 3))
    assert np.flatnonzero(changed).tolist() == [30, 31, 32, 33]
    assert np.allclose(np.linalg.norm(rows, axis=-1), 1, atol=1e-6)
    square = defect_square(SPINS, 10)
    assert np.all(square[:, 27:37, 27:37] == 0)
    assert np.sum(square == 0) == 2 * 100 * 3
    out_of_plane = out_of_plane_only(SPINS)
    assert np.all(out_of_plane[..., :2] == 0)
    assert np.array_equal(out_of_plane[..., 2], SPINS[..., 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda: noisy(SPINS, -0.1, (1,)),
        lambda: defect_rows(SPINS, 65, (1,)),
        lambda: defect_square(SPINS, -1),
    ],
)
def test_invalid_defects_are_refused(damage):
    with pytest.raises(InputError):
        damage()
