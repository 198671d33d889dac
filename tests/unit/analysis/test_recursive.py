"""The recursive process, run on the exact field in place of a network: then it is the greedy method."""

import numpy as np
import pytest
import torch
from torch import nn

from rayspin.analysis.recursive import (
    align,
    anisotropy,
    external_field,
    iterate,
    landau_lifshitz_gilbert,
    langevin,
    recurse,
    thermal,
)
from rayspin.physics import LABYRINTH, Hamiltonian, effective_field, energy
from rayspin.training import ExactField


class _Exact(nn.Module):
    def __init__(self, hamiltonian=LABYRINTH, shape=(16, 24)):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))
        self.exact = ExactField(hamiltonian, shape)

    def forward(self, spins):
        return self.exact(spins)


@pytest.fixture
def spins():
    vectors = np.random.default_rng(1).normal(size=(3, 16, 24, 3))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def test_each_iteration_aligns_the_spins_with_their_field(spins):
    run = recurse(_Exact(), spins, 3, LABYRINTH)
    assert run.spins_INYXC.shape == (4, 3, 16, 24, 3)
    assert np.array_equal(run.spins_INYXC[0], spins)
    for before, after in zip(run.spins_INYXC, run.spins_INYXC[1:]):
        field = effective_field(before, LABYRINTH)
        np.testing.assert_allclose(after, field / np.linalg.norm(field, axis=-1, keepdims=True), atol=1e-4)
    np.testing.assert_allclose(run.energies_IN, [energy(step, LABYRINTH) for step in run.spins_INYXC])


def test_the_exact_process_only_lowers_what_simultaneous_alignment_lowers(spins):
    """That is no energy but -sum S_t+1 . F(S_t) = -sum |F(S_t)|: all spins turn at once, the sublattices by turns."""
    steps = recurse(_Exact(), spins, 20, LABYRINTH).spins_INYXC
    lengths = [np.linalg.norm(effective_field(step, LABYRINTH), axis=-1).sum(axis=(1, 2)) for step in steps]
    assert (np.diff(lengths, axis=0) > -1e-2).all()
    assert (lengths[-1] > 1.5 * lengths[0]).all()


def test_a_strong_external_field_saturates(spins):
    run = recurse(_Exact(), spins, 60, LABYRINTH, modify=external_field((0.0, 0.0, 5.0)))
    np.testing.assert_allclose(run.spins_INYXC[-1, ..., 2], 1, atol=1e-3)


def test_the_modified_field_is_the_field_of_the_hamiltonian_with_that_term(spins):
    outside = Hamiltonian(dmi=0.3, external_field=(0.0, 0.0, 0.05))
    modified = recurse(_Exact(), spins, 2, LABYRINTH, modify=external_field((0.0, 0.0, 0.05)))
    explicit = recurse(_Exact(outside), spins, 2, outside)
    np.testing.assert_allclose(modified.spins_INYXC, explicit.spins_INYXC, atol=1e-4)


def test_a_spin_in_no_field_stays():
    field = np.array([[[[0, 0, 0], [0, 3, 4]]]], np.float32)
    spins = np.array([[[[1, 0, 0], [1, 0, 0]]]], np.float32)
    assert align(field, spins, 1) == pytest.approx(np.array([[[[1, 0, 0], [0, 0.6, 0.8]]]]))


def test_steps_can_be_chosen_and_know_their_iteration(spins):
    calls = []

    def modify(field, _spins, iteration):
        calls.append(("modify", iteration))
        return field

    def stay(_field, spins, iteration):
        calls.append(("evolve", iteration))
        return spins

    steps = list(iterate(_Exact(), spins, 2, modify=modify, evolve=stay))
    assert all(np.array_equal(step, spins) for step in steps)
    assert calls == [("modify", 1), ("evolve", 1), ("modify", 2), ("evolve", 2)]


def test_an_added_anisotropy_is_the_term_of_the_hamiltonian(spins):
    outside = Hamiltonian(dmi=0.3, anisotropy=0.4, anisotropy_axis=(1.0, 0.0, 1.0))
    added = anisotropy(0.4, axis=(1.0, 0.0, 1.0))(effective_field(spins, LABYRINTH), spins, 1)
    np.testing.assert_allclose(added, effective_field(spins, outside), atol=1e-5)


def test_the_fluctuating_field_has_its_amplitude_and_is_new_in_each_iteration():
    none = np.zeros((4, 32, 32, 3), np.float32)
    modify = langevin(0.7, seed=(3, 1))
    first, second = modify(none, none, 1), modify(none, none, 2)
    # 12288 Gaussians: five standard errors of the standard deviation and of the covariance.
    assert first.std() == pytest.approx(0.7, abs=5 * 0.7 / np.sqrt(2 * first.size))
    assert abs((first * second).mean()) < 5 * 0.49 / np.sqrt(first.size)
    assert np.array_equal(first, langevin(0.7, seed=(3, 1))(none, none, 1))


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
