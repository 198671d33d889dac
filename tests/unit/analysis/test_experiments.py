"""The science of the experiments of the recursive process: damages, peaks, steps, and rows with known values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayspin.analysis.energy_trace import peaks_of_change, topology_changes
from rayspin.analysis.field_response import cooled_in_the_field, in_the_field, response_rows
from rayspin.analysis.generation import generated, generation_rows, logarithmic_steps, random_map
from rayspin.analysis.restoration import damaged, restoration_rows
from rayspin.analysis.twins import follow, in_field
from rayspin.models import EffectiveFieldNetConfig, FieldOutput
from rayspin.physics import LABYRINTH, AnnealSchedule, Hamiltonian, anneal, effective_field, energy

SCHEDULE = AnnealSchedule(sweeps=20, quench_sweeps=10, torque_tolerance=0.0, quench_overshoot=0.0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    network = EffectiveFieldNetConfig(encoder_filters=(2,), decoder_filters=(2,)).build()
    network.output = FieldOutput(isotropic=4.0, scale=0.05)
    return network


@pytest.fixture
def clean():
    return np.stack([anneal(LABYRINTH, 16, SCHEDULE, (1, n)) for n in range(2)])


def test_topology_changes_are_whole_steps_of_the_charge():
    assert topology_changes([-2.0000001, -2, -1.0000002, -1, 1, 1]).tolist() == [0, 1, 0, 2, 0]


def test_peaks_are_the_fastest_changes_that_are_apart():
    energies = np.array([0, 0, -1, -1.9, -1.9, -2, -2, -2.5, -2.5])
    # Changes at steps 2 (1.0), 3 (0.9), 5 (0.1), 7 (0.5).
    assert peaks_of_change(energies, 2, apart=1) == [2, 3]
    assert peaks_of_change(energies, 3, apart=2) == [2, 5, 7]
    assert peaks_of_change(energies, 9, apart=4) == [2, 7]


def test_logarithmic_steps_end_with_the_last_and_grow_by_a_factor():
    steps = logarithmic_steps(5000)
    assert (steps[0], steps[-1]) == (1, 5000)
    assert len(steps) < 35
    ratios = np.array(steps[15:]) / np.array(steps[14:-1])
    assert (ratios < 1.5).all()
    assert (ratios > 1.2).all()
    assert logarithmic_steps(1) == (1,)
    assert logarithmic_steps(0) == ()


def test_each_estimator_follows_its_field(network, clean):
    field, isotropic = (0.0, 0.0, 0.2), 0.5
    total = LABYRINTH.with_updates(external_field=field)
    ours = follow("network", network, clean, LABYRINTH, 1, field=field, isotropic=isotropic)
    exact = follow("exact", network, clean, LABYRINTH, 1, field=field, isotropic=isotropic)
    descent = follow("descent", network, clean, LABYRINTH, 300, field=field, record=300)
    deviation = network.field(clean) - 4 * clean + isotropic * clean + np.array(field, np.float32)
    for run, followed in ((ours, deviation), (exact, effective_field(clean, total))):
        np.testing.assert_allclose(run.last, followed / np.linalg.norm(followed, axis=-1, keepdims=True), atol=1e-5)
        np.testing.assert_allclose(run.energy_IN[0], energy(clean, total))
    lengths = np.linalg.norm(effective_field(descent.last, total), axis=-1, keepdims=True)
    np.testing.assert_allclose(descent.last * lengths, effective_field(descent.last, total), atol=0.02)


def test_fields_add_up():
    own = Hamiltonian(external_field=(0.1, 0.0, 0.2))
    assert in_field(own, (0.0, 0.0, 0.3)).external_field == pytest.approx((0.1, 0.0, 0.5))
    assert in_field(own, (0.0, 0.0, 0.0)) is own


def test_damage_of_a_sample_does_not_depend_on_its_share(clean):
    options = {"noise_amplitude": 2.5, "defect_width": 6, "seed": 3}
    for damage in ("noise", "defect-rows", "defect-square", "out-of-plane"):
        whole = damaged(clean, damage, first=0, **options)
        np.testing.assert_array_equal(damaged(clean[1:], damage, first=1, **options), whole[1:])
    assert np.count_nonzero((damaged(clean, "defect-rows", first=0, **options) != clean).any(-1)) == 2 * 6 * 16
    assert np.count_nonzero((damaged(clean, "defect-square", first=0, **options) == 0).all(-1)) == 2 * 36


def test_restoration_rows_tell_of_the_clean_spins(network, clean):
    start = damaged(clean, "out-of-plane", noise_amplitude=1.0, defect_width=4, seed=0, first=5)
    run = follow("exact", network, start, LABYRINTH, 2, reference=clean, frames=range(3))
    rows = restoration_rows(run, "exact", "out-of-plane", clean, LABYRINTH, 5)
    assert [(row["sample"], row["step"]) for row in rows] == [(n, step) for n in (5, 6) for step in range(3)]
    for row in rows:
        n, step = row["sample"] - 5, row["step"]
        assert row["damage"] == "out-of-plane"
        assert row["annealed"] == pytest.approx(float(energy(clean[n], LABYRINTH)))
        spins = run.frames[step][n]
        expected = [0.0 if not spins[..., c].any() else
                    np.corrcoef(spins[..., c].ravel(), clean[n][..., c].ravel())[0, 1] for c in range(3)]  # fmt: skip
        assert [row[f"correlation_{name}"] for name in "xyz"] == pytest.approx(expected, abs=1e-5)
    assert rows[0]["correlation_z"] == pytest.approx(1)
    assert rows[0]["overlap_reference"] == pytest.approx((clean[0][..., 2] ** 2).mean(), abs=1e-5)


@pytest.mark.parametrize("estimator", ["network", "exact", "annealing", "descent"])
def test_generation_starts_from_random_maps_and_tells_the_time(network, estimator):
    run = generated(
        estimator, network, LABYRINTH, 16, (4, 1, 16), iterations=3, isotropic=0.0, schedule=SCHEDULE, sweeps=40
    )
    rows = generation_rows(run, estimator, 16, 1)
    last = {"annealing": 30, "descent": 40}.get(estimator, 3)
    assert (rows[0]["step"], rows[-1]["step"]) == (0, last)
    assert all((row["size"], row["sample"], row["estimator"]) == (16, 1, estimator) for row in rows)
    seconds = [row["seconds"] for row in rows]
    assert sorted(seconds) == seconds
    assert 0 <= seconds[0] < seconds[-1] < 60
    if estimator == "annealing":
        np.testing.assert_array_equal(run.last[0], anneal(LABYRINTH, 16, SCHEDULE, (4, 1, 16)))
    else:
        start = random_map((16, 16), (4, 1, 16))
        assert rows[0]["energy"] == pytest.approx(float(energy(start, LABYRINTH)))
    if estimator in ("annealing", "descent"):
        assert rows[-1]["energy"] < -1.5


def test_random_maps_are_uniform_on_the_sphere():
    spins = random_map((100, 100), (1, 2))
    np.testing.assert_allclose(np.linalg.norm(spins, axis=-1), 1, atol=1e-6)
    assert np.abs(spins.mean((0, 1))).max() < 5 / np.sqrt(3e4)
    assert np.abs((spins**2).mean((0, 1)) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / 1e4)


def test_the_field_is_applied_after_the_first_iterations_and_counts_skyrmions(network, clean):
    options = {"iterations": 4, "isotropic": 0.0, "every": 2}
    run = in_the_field("exact", network, clean, LABYRINTH, 0.3, first=2, **options)
    before = follow("exact", network, clean, LABYRINTH, 2).last
    np.testing.assert_array_equal(run.frames[0], before)
    after = follow("exact", network, before, LABYRINTH, 4, field=(0.0, 0.0, 0.3))
    np.testing.assert_array_equal(run.last, after.last)
    rows = response_rows(run, "exact", 0.3, 7, (1, 20))
    assert [(row["sample"], row["step"], row["field"]) for row in rows] == [
        (n, step, 0.3) for n in (7, 8) for step in (0, 2, 4)
    ]
    assert rows[-1]["m_z"] == pytest.approx(run.last[1][..., 2].mean(), abs=1e-6)
    assert all(isinstance(row["skyrmions"], int) for row in rows)


def test_monte_carlo_in_a_field_is_the_annealing_of_that_hamiltonian():
    run = cooled_in_the_field((16, 16), LABYRINTH, 0.4, SCHEDULE, (3, 1))
    total = LABYRINTH.with_updates(external_field=(0.0, 0.0, 0.4))
    np.testing.assert_array_equal(run.last[0], anneal(total, 16, SCHEDULE, (3, 1)))
    rows = response_rows(run, "monte-carlo", 0.4, 1, (1, 300))
    assert [row["step"] for row in rows] == [0, 30]
    assert rows[-1]["m_z"] > 0.9
