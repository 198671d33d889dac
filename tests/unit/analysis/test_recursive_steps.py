"""The functions "modify" and "evolve" of the recursive process: fields, statistics and motions that are known."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.analysis.recursive import iterate
from rayspin.analysis.recursive_steps import (
    align,
    anisotropy,
    landau_lifshitz_gilbert,
    langevin,
    langevin_for_alignment,
    thermal,
)
from rayspin.physics import LABYRINTH, Hamiltonian, effective_field
from tests.support import reference


@pytest.fixture
def spins():
    return reference.random_spins(np.random.default_rng(1), 3, 16, 24).astype(np.float32)


def test_a_spin_in_no_field_stays():
    field = np.array([[[[0, 0, 0], [0, 3, 4]]]], np.float32)
    spins = np.array([[[[1, 0, 0], [1, 0, 0]]]], np.float32)
    assert align(field, spins, 1) == pytest.approx(np.array([[[[1, 0, 0], [0, 0.6, 0.8]]]]))


def test_an_added_anisotropy_is_the_term_of_the_hamiltonian(spins):
    outside = Hamiltonian(dmi=0.3, anisotropy=0.4, anisotropy_axis=(1.0, 0.0, 1.0))
    added = anisotropy(0.4, axis=(1.0, 0.0, 1.0))(effective_field(spins, LABYRINTH), spins, 1)
    np.testing.assert_allclose(added, effective_field(spins, outside), atol=1e-5)


def test_the_langevin_field_has_the_variance_of_its_temperature_and_is_new_in_each_iteration():
    none = np.zeros((4, 32, 32, 3), np.float32)
    temperature, time, damping = 0.2, 0.05, 0.3
    modify = langevin(temperature, time, damping, seed=(3, 1))
    first, second = modify(none, none, 1), modify(none, none, 2)
    variance = 2 * damping * temperature / time
    # 12288 Gaussians: five standard errors of the variance and of the covariance.
    assert first.var() == pytest.approx(variance, abs=5 * variance * np.sqrt(2 / first.size))
    assert abs((first * second).mean()) < 5 * variance / np.sqrt(first.size)
    assert np.array_equal(first, langevin(temperature, time, damping, seed=(3, 1))(none, none, 1))
    assert not langevin(0.0, time, damping, seed=1)(none, none, 1).any()


def test_the_equation_of_motion_with_a_langevin_field_has_the_boltzmann_distribution():
    """Spins without neighbors in a field H: the mean of S_z is Langevin's function of H / T."""
    field, temperature, time, damping = 1.0, 0.5, 0.05, 0.5
    spins = np.tile(np.array([0, 0, 1], np.float32), (1, 100, 100, 1))
    steps = iterate(
        spins,
        lambda spins: np.broadcast_to(np.array([0, 0, field], np.float32), spins.shape),
        600,
        modify=langevin(temperature, time, damping, 5),
        evolve=landau_lifshitz_gilbert(time, damping),
    )
    means = np.array([step[..., 2].mean() for step in steps])[200:]
    expected = reference.langevin(field / temperature)
    # The spins relax within about 1 / (damping H): 400 steps of 0.05 are some ten independent states of 10,000 spins.
    assert means.mean() == pytest.approx(expected, abs=0.005)


def test_the_langevin_field_of_the_alignment_opens_the_cone_of_the_temperature():
    field = np.tile(np.array([0, 4, 0], np.float32), (1, 100, 100, 1))
    temperature = 0.02
    aligned = align(langevin_for_alignment(temperature, 3)(field, field, 1), field, 1)
    # <S_x^2> = T / F in the Boltzmann distribution for T << F; corrections are of relative order T / F = 0.005.
    squares = aligned[..., [0, 2]] ** 2
    assert squares.mean() == pytest.approx(temperature / 4, rel=0.01 + 5 * np.sqrt(2 / squares.size))


@pytest.mark.parametrize("ratio", [0.05, 1.0, 3.0, 40.0])
def test_thermal_spins_follow_the_langevin_function(ratio):
    direction = np.array([1.0, -2.0, 2.0]) / 3
    field = np.tile((0.5 * ratio * direction).astype(np.float32), (1, 200, 200, 1))
    spins = thermal(0.5, seed=(1,))(field, field, 1)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=-1), 1, atol=1e-5)
    along = spins @ direction
    expected = 1 / np.tanh(ratio) - 1 / ratio
    # <cos> and <cos^2> = 1 - 2 L / x, each to five standard errors of 40,000 spins.
    assert along.mean() == pytest.approx(expected, abs=5 * along.std() / 200)
    assert (along**2).mean() == pytest.approx(1 - 2 * expected / ratio, abs=5 * (along**2).std() / 200)
    # No direction across the field is preferred.
    across = spins - along[..., None] * direction
    assert np.abs(across.mean(axis=(0, 1, 2))).max() < 5 / 200


def test_a_thermal_spin_in_no_field_points_anywhere():
    spins = thermal(1.0, seed=(2,))(np.zeros((1, 100, 100, 3), np.float32), np.zeros((1, 100, 100, 3), np.float32), 1)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=-1), 1, atol=1e-5)
    assert np.abs(spins.mean(axis=(0, 1, 2))).max() < 5 / np.sqrt(3 * 1e4)


def test_a_spin_precesses_and_falls_as_the_equation_of_motion_says(spins):
    """Against many small steps of the equation itself."""
    field = effective_field(spins, LABYRINTH)
    time, damping = 0.4, 0.3
    expected = spins.astype(np.float64)
    for _ in range(4000):
        turning = np.cross(expected, field)
        expected -= time / 4000 * (turning + damping * np.cross(expected, turning)) / (1 + damping**2)
    moved = landau_lifshitz_gilbert(time, damping)(field, spins, 1)
    np.testing.assert_allclose(moved, expected, atol=3e-3)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=-1), 1, atol=1e-5)


def test_without_damping_the_energy_in_the_field_stays_and_with_it_the_spin_ends_along_the_field(spins):
    field = effective_field(spins, LABYRINTH)
    free = landau_lifshitz_gilbert(0.8, 0.0)(field, spins, 1)
    np.testing.assert_allclose((free * field).sum(-1), (spins * field).sum(-1), atol=1e-4)
    assert not np.allclose(free, spins, atol=0.1)
    damped = landau_lifshitz_gilbert(200.0, 1.0)(field, spins, 1)
    np.testing.assert_allclose(damped, align(field, spins, 1), atol=1e-3)
