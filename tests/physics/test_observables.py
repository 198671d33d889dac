from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics.observables import magnetization, topological_charge
from tests import reference


def skyrmion(size, radius, core=-1.0, winding=1):
    """Spins along `core` z at the centre and -`core` z outside, their in-plane part winding around."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    angle = np.pi * np.exp(-np.hypot(x, y) / radius)
    azimuth = winding * np.arctan2(y, x)
    return np.stack([np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), -core * np.cos(angle)], axis=-1)


@pytest.mark.parametrize(("core", "winding", "charge"), [(-1, 1, -1), (1, 1, 1), (-1, -1, 1), (-1, 2, -2)])
def test_charge_of_textures_whose_winding_is_known(core, winding, charge):
    """Q = core polarity times winding number."""
    assert topological_charge(skyrmion(64, 4, core, winding)) == pytest.approx(charge, abs=1e-9)


def test_charge_of_random_spins_is_whole_and_odd_under_reversal():
    spins = reference.random_spins(np.random.default_rng(1), 5, 32, 32)
    charge = topological_charge(spins)
    assert charge.shape == (5,)
    assert np.allclose(charge, np.round(charge), atol=1e-9)
    assert np.any(charge != 0)
    assert np.allclose(topological_charge(-spins), -charge)


def test_magnetization():
    spins = np.zeros((2, 4, 4, 3), np.float32)
    spins[0, ..., 2] = 1
    spins[1, :2, :, 0] = 1
    assert magnetization(spins).tolist() == [[0, 0, 1], [0.5, 0, 0]]
    assert magnetization(spins[0]).tolist() == [0, 0, 1]
