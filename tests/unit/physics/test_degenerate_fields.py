"""Observables of uniform fields, single sites and plane textures have exact values and cause no warnings."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics import LABYRINTH, Hamiltonian, effective_field, energy, torque
from rayspin.physics.corruption import noisy
from rayspin.physics.observables import magnetization, structure_factor, topological_charge, wall_length
from rayspin.physics.trace import specific_heat, susceptibility

BOUNDARIES = ["periodic", "open"]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 2), (5, 7)])
def test_uniform_fields_have_no_charge_and_no_walls(shape, boundary):
    for vector in ([0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.48, 0.6, 0.64]):
        field = np.broadcast_to(vector, (*shape, 3))
        assert topological_charge(field, boundary) == 0
        assert wall_length(field, boundary) == 0
        assert magnetization(field) == pytest.approx(vector)
        assert structure_factor(field, boundary).mean() == pytest.approx(1)


def test_single_periodic_site_is_its_own_neighbor():
    """A periodic site has two bonds, each with itself, and an open site has none."""
    up = np.array([[[0.0, 0.0, 1.0]]])
    assert energy(up, LABYRINTH) == -2
    assert energy(up, Hamiltonian(boundary="open")) == 0
    assert effective_field(up, LABYRINTH).tolist() == [[[0, 0, 4]]]
    assert not torque(up, LABYRINTH).any()


@pytest.mark.parametrize("axis", [[0.0, 0.0, 1.0], [0.48, 0.6, 0.64], [1 / np.sqrt(3)] * 3])
def test_collinear_spins_have_no_charge(axis):
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=(20, 8, 8, 1))
    neel = (-1.0) ** np.indices((8, 8)).sum(axis=0)
    for field in (signs * np.array(axis), neel[..., None] * np.array(axis)):
        assert not topological_charge(field).any()


@pytest.mark.parametrize("turns", [(0, 1), (3, 4), (4, 4), (3, 0), (5, 6), (6, 6)])
@pytest.mark.parametrize("tilt", [0.0, 0.7, np.pi / 2])
def test_plane_spirals_have_no_charge(turns, tilt):
    """A plane field is its own mirror image, and a reflection reverses the charge."""
    y, x = np.mgrid[:12, :16]
    angle = 2 * np.pi * (turns[0] * y / 12 + turns[1] * x / 16)
    plane = np.array([np.cos(tilt), np.sin(tilt), 0.0])
    field = np.cos(angle)[..., None] * plane + np.sin(angle)[..., None] * np.array([0.0, 0.0, 1.0])
    assert topological_charge(field) == pytest.approx(0, abs=1e-9)


def test_constant_series_have_no_fluctuations():
    assert specific_heat([-1.5] * 5, 1.0, 16) == 0
    assert susceptibility([[0.0, 0.0, 1.0]] * 5, 1.0, 16) == 0
    assert specific_heat([-1.5], 1.0, 16) == 0


def test_erased_spins_without_noise_stay_erased():
    erased = np.zeros((4, 4, 3))
    erased[:2, :, 2] = 1
    assert np.array_equal(noisy(erased, 0.0, 1), erased)
