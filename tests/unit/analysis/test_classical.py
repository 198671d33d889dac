"""Exact descent and annealing as trajectories, beside the functions of the physics that do the same."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.analysis.classical import cool, descend
from rayspin.errors import InputError
from rayspin.physics import LABYRINTH, AnnealSchedule, Hamiltonian, anneal, energy, quench, torque
from tests.support import reference

SCHEDULE = AnnealSchedule(sweeps=30, over_relaxation=2, quench_sweeps=20, torque_tolerance=0.0, quench_overshoot=0.0)


@pytest.fixture
def spins():
    return reference.random_spins(np.random.default_rng(1), 3, 16, 24).astype(np.float32)


def test_an_annealing_ends_with_the_spins_of_anneal_whatever_is_recorded():
    expected = np.stack([anneal(LABYRINTH, (16, 24), SCHEDULE, (5, n)) for n in range(2)])
    for record in (50, 7, [1, 31]):
        run = cool(LABYRINTH, (16, 24), SCHEDULE, [(5, 0), (5, 1)], record=record, frames=[30])
        np.testing.assert_array_equal(run.last, expected)
        np.testing.assert_allclose(run.energy_IN[-1], energy(expected, LABYRINTH))
        assert set(run.frames) == {30, 50}
    assert run.steps == (0, 1, 31, 50)
    # Random spins have no energy; a ramp to T = 0.01 has nearly all that there is.
    assert (np.abs(run.energy_IN[0]) < 0.3).all()
    assert (run.energy_IN[-1] < -1.9).all()


def test_a_descent_is_the_quench_and_never_climbs(spins):
    run = descend(spins, LABYRINTH, 60, reference=spins[::-1])
    for n in range(3):
        expected = quench(LABYRINTH, (16, 24), (0, n), sweeps=60, torque_tolerance=0.0, start=spins[n])
        np.testing.assert_allclose(run.last[n], expected, atol=1e-4)
    assert (np.diff(run.energy_IN, axis=0) < 1e-6).all()
    np.testing.assert_allclose(run.overlap_IN[0], 1, atol=1e-6)
    np.testing.assert_allclose(run.reference_IN[0], (spins * spins[::-1]).sum(-1).mean((1, 2)), atol=1e-6)


def test_a_long_descent_ends_in_equilibrium(spins):
    run = descend(spins[0], Hamiltonian(external_field=(0.0, 0.0, 0.5)), 500, record=500)
    assert run.last.shape == (16, 24, 3)
    assert np.abs(torque(run.last, Hamiltonian(external_field=(0.0, 0.0, 0.5)))).max() < 1e-4
    np.testing.assert_allclose(run.magnetization_INC[-1], [0, 0, 1], atol=1e-4)


def test_spins_without_direction_are_drawn_and_others_normalized(spins):
    damaged = 0.5 * spins
    damaged[:, 4:8, 4:8] = 0
    runs = [descend(damaged, LABYRINTH, 0, seed=seed) for seed in (1, 1, 2)]
    # No sweep: the start is recorded as it was given.
    np.testing.assert_array_equal(runs[0].last, damaged)
    moved = [descend(damaged, LABYRINTH, 1, seed=seed).last for seed in (1, 1, 2)]
    np.testing.assert_allclose(np.linalg.norm(moved[0], axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(moved[0], moved[1])
    assert not np.array_equal(moved[0], moved[2])
    # The directions belong to the number of the sample, not to its place in the batch.
    np.testing.assert_array_equal(descend(damaged[2:], LABYRINTH, 1, seed=1, first=2).last, moved[0][2:])


@pytest.mark.parametrize(
    "schedule",
    [{"quench_sweeps": None}, {"start_field": (0.0, 0.0, 1.0)}, {"update": "metropolis", "over_relaxation": 0}],
)
def test_schedules_without_a_fixed_course_are_refused(schedule):
    changed = SCHEDULE.with_updates(**{"torque_tolerance": 1e-4, **schedule})
    with pytest.raises(InputError, match=r"^schedule: a trajectory needs quench_sweeps"):
        cool(LABYRINTH, 16, changed, [1])
