"""The recursive process on exact fields, where every step is known, and its observables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rayspin.analysis.estimates import Estimate, exact_deviation, exact_field
from rayspin.analysis.recursive import iterate, recurse
from rayspin.analysis.recursive_steps import (
    external_field,
    landau_lifshitz_gilbert,
    langevin_for_alignment,
    thermal,
)
from rayspin.errors import InputError
from rayspin.models import ExactField
from rayspin.physics import LABYRINTH, Hamiltonian, effective_field, energy
from rayspin.physics.observables import magnetization, topological_charge

EXACT = exact_field(LABYRINTH)


@pytest.fixture
def spins():
    vectors = np.random.default_rng(1).normal(size=(3, 16, 24, 3))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def by_hand(spins, iterations, field=lambda spins: effective_field(spins, LABYRINTH)):
    steps = [spins]
    for _ in range(iterations):
        steps.append(unit(field(steps[-1])))
    return np.array(steps)


def test_the_recursion_on_the_exact_field_is_a_loop_of_alignments(spins):
    expected = by_hand(spins, 3)
    run = recurse(spins, EXACT, 3, hamiltonian=LABYRINTH, frames=range(4))
    for step in range(4):
        np.testing.assert_allclose(run.frames[step], expected[step], atol=1e-5)


def test_observables_are_those_of_the_physics(spins):
    run = recurse(spins, EXACT, 3, hamiltonian=LABYRINTH, reference=spins[0], frames=range(4))
    steps = [run.frames[step] for step in range(4)]
    assert run.steps == (0, 1, 2, 3)
    np.testing.assert_allclose(run.energy_IN, [energy(step, LABYRINTH) for step in steps], rtol=1e-12)
    np.testing.assert_allclose(run.magnetization_INC, [magnetization(step) for step in steps], atol=1e-12)
    np.testing.assert_allclose(run.charge_IN, [topological_charge(step) for step in steps], atol=1e-6)
    overlaps = [[(step * other).sum(-1).mean((1, 2)) for step in steps] for other in (spins, spins[:1])]
    np.testing.assert_allclose(run.overlap_IN, overlaps[0], atol=1e-5)
    np.testing.assert_allclose(run.reference_IN, overlaps[1], atol=1e-5)


def test_a_uniform_state_is_a_fixed_point_of_the_exact_field():
    uniform = np.broadcast_to(np.array([0.6, 0.0, -0.8], np.float32), (1, 8, 8, 3))
    run = recurse(uniform, EXACT, 5, hamiltonian=LABYRINTH)
    np.testing.assert_allclose(run.last, uniform, atol=1e-6)
    np.testing.assert_allclose(run.energy_IN, -2, atol=1e-5)
    np.testing.assert_allclose(run.overlap_IN, 1, atol=1e-5)


def test_only_what_is_asked_for_is_recorded_and_kept(spins):
    run = recurse(spins, EXACT, 7, hamiltonian=LABYRINTH, record=3, frames=[2])
    every = recurse(spins, EXACT, 7, hamiltonian=LABYRINTH)
    assert run.steps == (0, 3, 6, 7)
    assert set(run.frames) == {2, 7}
    np.testing.assert_array_equal(run.energy_IN, every.energy_IN[[0, 3, 6, 7]])
    assert recurse(spins, EXACT, 7, hamiltonian=LABYRINTH, record=[5]).steps == (0, 5, 7)
    assert set(every.frames) == {7}


def test_rows_name_each_sample_and_step_once(spins):
    run = recurse(spins, EXACT, 2, hamiltonian=LABYRINTH, reference=spins)
    rows = run.rows("exact", first=10)
    assert [(row["sample"], row["step"]) for row in rows] == [(n, i) for n in (10, 11, 12) for i in (0, 1, 2)]
    columns = ["sample", "estimator", "step", "energy", "m_x", "m_y", "m_z", "charge", "overlap", "overlap_reference"]
    assert all(list(row) == columns and row["estimator"] == "exact" for row in rows)
    assert [row["energy"] for row in rows] == run.energy_IN.T.ravel().tolist()
    assert [row["m_z"] for row in rows] == run.magnetization_INC[..., 2].T.ravel().tolist()


def test_the_exact_process_only_lowers_what_simultaneous_alignment_lowers(spins):
    """That is no energy but -sum S_t+1 . F(S_t) = -sum |F(S_t)|: all spins turn at once, the sublattices by turns."""
    frames = recurse(spins, EXACT, 20, hamiltonian=LABYRINTH, frames=range(21)).frames
    lengths = [np.linalg.norm(effective_field(frames[step], LABYRINTH), axis=-1).sum(axis=(1, 2)) for step in range(21)]
    assert (np.diff(lengths, axis=0) > -1e-2).all()
    assert (lengths[-1] > 1.5 * lengths[0]).all()


def test_a_strong_external_field_saturates(spins):
    run = recurse(spins, EXACT, 60, hamiltonian=LABYRINTH, modify=external_field((0.0, 0.0, 5.0)))
    np.testing.assert_allclose(run.last[..., 2], 1, atol=1e-3)
    np.testing.assert_allclose(run.magnetization_INC[-1, :, 2], 1, atol=1e-3)


def test_the_modified_field_is_the_field_of_the_hamiltonian_with_that_term(spins):
    outside = Hamiltonian(dmi=0.3, external_field=(0.0, 0.0, 0.05))
    modified = recurse(spins, EXACT, 2, hamiltonian=outside, modify=external_field((0.0, 0.0, 0.05)))
    explicit = recurse(spins, exact_field(outside), 2, hamiltonian=outside)
    np.testing.assert_allclose(modified.last, explicit.last, atol=1e-4)
    np.testing.assert_allclose(modified.energy_IN, explicit.energy_IN, atol=1e-4)


def test_the_deviation_with_its_isotropic_part_is_the_field(spins):
    deviation = exact_deviation(LABYRINTH)
    assert deviation.isotropic == 4
    np.testing.assert_allclose(deviation(spins) + 4 * spins, effective_field(spins, LABYRINTH), atol=1e-5)
    run = recurse(spins, deviation, 3, hamiltonian=LABYRINTH, isotropic=4.0)
    np.testing.assert_allclose(run.last, by_hand(spins, 3)[-1], atol=1e-4)


def test_the_deviation_of_a_uniform_state_is_zero_so_that_it_stays():
    uniform = np.broadcast_to(np.array([0.6, 0.0, -0.8], np.float32), (1, 8, 8, 3))
    np.testing.assert_allclose(exact_deviation(LABYRINTH)(uniform), 0, atol=1e-6)
    assert exact_deviation(Hamiltonian(exchange=0.5)).isotropic == 2


def test_an_isotropic_share_exerts_no_torque(spins):
    """In a short step of the equation of motion it changes nothing; in an alignment, only how far the spins turn."""
    deviation = exact_deviation(LABYRINTH)
    moves = [
        recurse(
            spins, deviation, 1, hamiltonian=LABYRINTH, isotropic=c, evolve=landau_lifshitz_gilbert(1e-3, 0.1)
        ).last - spins
        for c in (0.0, 4.0)
    ]  # fmt: skip
    np.testing.assert_allclose(moves[0], moves[1], atol=2e-5)
    assert np.abs(moves[0]).max() > 2e-3
    field = effective_field(spins, LABYRINTH)
    slow = recurse(spins, EXACT, 1, hamiltonian=LABYRINTH, isotropic=50.0).last
    np.testing.assert_allclose(np.cross(np.cross(spins, slow - spins), np.cross(spins, field)), 0, atol=2e-2)


def test_each_spin_of_llg_without_damping_keeps_its_length_and_the_energy_stays(spins):
    run = recurse(spins, EXACT, 400, hamiltonian=LABYRINTH, evolve=landau_lifshitz_gilbert(0.0005, 0.0), record=100)
    np.testing.assert_allclose(np.linalg.norm(run.last, axis=-1), 1, atol=1e-4)
    assert run.overlap_IN[-1].max() < 0.99
    # The field changes during a step: the error of the energy is of first order in the time.
    np.testing.assert_allclose(run.energy_IN, np.broadcast_to(run.energy_IN[0], run.energy_IN.shape), atol=2e-3)


def test_one_field_goes_through_the_process_as_in_a_batch(spins):
    batch = recurse(spins, EXACT, 2, hamiltonian=LABYRINTH, frames=[1])
    single = recurse(spins[1].tolist(), EXACT, np.int64(2), hamiltonian="labyrinth", frames=[1])
    assert single.last.shape == (16, 24, 3)
    np.testing.assert_allclose(single.frames[1], batch.frames[1][1], atol=1e-5)
    np.testing.assert_allclose(single.energy_IN, batch.energy_IN[:, 1], atol=1e-6)
    assert single.charge_IN.shape == (3,)


def test_a_network_is_an_estimate(spins):
    class Exact(nn.Module):
        def __init__(self):
            super().__init__()
            self.anchor = nn.Parameter(torch.zeros(()))
            self.exact = ExactField(LABYRINTH, (16, 24))

        def forward(self, spins):
            return self.exact(spins)

    run = recurse(spins, Exact(), 3, hamiltonian=LABYRINTH)
    np.testing.assert_allclose(run.last, by_hand(spins, 3)[-1], atol=1e-4)


def test_damaged_spins_of_any_length_have_observables():
    spins = np.zeros((1, 8, 8, 3), np.float32)
    spins[..., :4, 2] = 0.5
    run = recurse(spins, EXACT, 2, hamiltonian=LABYRINTH)
    assert all(np.isfinite(values).all() for values in (run.energy_IN, run.charge_IN, run.overlap_IN))
    assert run.charge_IN[0, 0] == 0
    np.testing.assert_allclose(run.magnetization_INC[0, 0], [0, 0, 0.25])


def test_the_random_numbers_of_a_sample_do_not_depend_on_the_batch(spins):
    for make in (lambda first: langevin_for_alignment(0.1, 7, first=first), lambda first: thermal(0.1, 7, first=first)):
        whole, part = make(0)(spins, spins, 3), make(2)(spins[2:], spins[2:], 3)
        np.testing.assert_array_equal(whole[2:], part)
        assert not np.array_equal(whole[:1], make(1)(spins[:1], spins[:1], 3))


def test_steps_can_be_chosen_and_know_their_iteration(spins):
    calls = []

    def modify(field, _spins, iteration):
        calls.append(("modify", iteration))
        return field

    def stay(_field, spins, iteration):
        calls.append(("evolve", iteration))
        return spins

    steps = list(iterate(spins, EXACT, 2, modify=modify, evolve=stay))
    assert all(np.array_equal(step, spins) for step in steps)
    assert calls == [("modify", 1), ("evolve", 1), ("modify", 2), ("evolve", 2)]


BAD = {
    "Boltzmann sampling of a deviation": (
        {"estimate": exact_deviation(LABYRINTH), "evolve": thermal(0.1, 1)},
        r"evolve: Boltzmann sampling needs the whole field, and the recursion follows F - 4 S; give isotropic = 4",
    ),
    "a Langevin field for the alignment with a share that is too small": (
        {"estimate": exact_deviation(LABYRINTH), "isotropic": 1.0, "modify": langevin_for_alignment(0.1, 1)},
        r"modify: the Langevin field of the alignment needs the whole field, and the recursion follows F - 3 S",
    ),
    "Boltzmann sampling with a share that the field has": (
        {"estimate": EXACT, "isotropic": 1.0, "evolve": thermal(0.1, 1)},
        r"evolve: Boltzmann sampling needs the whole field, and the recursion follows F - -1 S",
    ),
    "an estimate of another shape": ({"estimate": lambda spins: spins[:, :4]}, "estimate: returns a field of shape"),
    "no estimate": ({"estimate": 3}, "estimate: 3 is not an estimate of a field"),
    "a reference of another shape": ({"reference": np.zeros((8, 8, 3))}, r"reference: has shape \(8, 8, 3\)"),
    "a frame after the end": ({"frames": [3]}, "frames: 3 is invalid"),
    "a record after the end": ({"record": [3]}, "record: 3 is invalid"),
    "no interval": ({"record": 0}, "record: 0 is invalid"),
    "a share in words": ({"isotropic": "some"}, "isotropic: 'some' is invalid"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_recursion_cannot_do_is_one_line(case, spins):
    arguments, message = BAD[case]
    with pytest.raises(InputError, match=f"^{message}") as error:
        recurse(spins, **{"estimate": EXACT, "iterations": 2, "hamiltonian": LABYRINTH, **arguments})
    assert "\n" not in str(error.value)


def test_whole_fields_may_be_sampled_and_plain_functions_are_whole_fields(spins):
    for estimate, share in ((exact_deviation(LABYRINTH), 4.0), (EXACT, 0.0), (lambda spins: spins, 0.0)):
        run = recurse(spins, estimate, 1, hamiltonian=LABYRINTH, isotropic=share, evolve=thermal(0.1, 1))
        np.testing.assert_allclose(np.linalg.norm(run.last, axis=-1), 1, atol=1e-5)
    assert Estimate.of(EXACT) is EXACT
