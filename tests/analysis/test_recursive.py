"""The recursive process, run on the exact field in place of a network: then it is the greedy method."""

import numpy as np
import pytest
import torch
from torch import nn

from rayspin.analysis.recursive import align, external_field, iterate, recurse
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
