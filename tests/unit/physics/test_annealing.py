"""Sampling compared with exact results of statistical mechanics, and properties of annealed samples."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.physics import (
    DOMAIN,
    DOMAIN_SCHEDULE,
    LABYRINTH,
    LABYRINTH_SCHEDULE,
    AnnealSchedule,
    Hamiltonian,
    Sampler,
    Trace,
    anneal,
    anneal_many,
    annealing,
    effective_field,
    energy,
    quench,
    torque,
)
from rayspin.physics.observables import magnetization, structure_factor_peak, topological_charge
from tests.support import reference
from tests.support.statistics import within

PLAIN_QUENCH = {"quench_sweeps": 1000, "quench_overshoot": 0.0, "torque_tolerance": 0.0}


def at_temperature(temperature, sweeps, **changes):
    return AnnealSchedule(
        start_temperature=temperature, end_temperature=temperature, sweeps=sweeps, quench_sweeps=0, **changes
    )


@pytest.mark.parametrize("temperature", [0.02, 0.3, 1.0, 30.0])
def test_free_spins_follow_langevin(temperature):
    """For free spins in a field h = 1.3, <S . h> = L = coth(h/T) - T/h and the second moment is 1 - 2 L T/h."""
    direction = np.array([3.0, -4.0, -12.0]) / 13
    hamiltonian = Hamiltonian(exchange=0.0, external_field=tuple(1.3 * direction))
    spins = anneal(hamiltonian, 512, at_temperature(temperature, 1), seed=(1,))
    along = (spins.astype(np.float64) @ direction).ravel()
    mean = reference.langevin(1.3 / temperature)
    within(along, mean)
    within(along**2, 1 - 2 * mean * temperature / 1.3)
    transverse = spins.astype(np.float64) @ np.array([4.0, 3.0, 0.0]) / 5
    within(transverse.ravel(), 0.0)
    within(transverse.ravel() ** 2, mean * temperature / 1.3)


def test_free_spins_without_field_are_uniform():
    spins = anneal(Hamiltonian(exchange=0.0), 256, at_temperature(1.0, 1), seed=(2,)).astype(np.float64)
    for component in range(3):
        within(spins[..., component], 0.0)
        within(spins[..., component] ** 2, 1 / 3)
    within(spins[..., 0] * spins[..., 1], 0.0)


@pytest.mark.parametrize("over_relaxation", [0, 3])
@pytest.mark.parametrize(
    ("temperature", "exact"), [(2.0, -0.163953), (1.0, -0.313035), (0.5, -0.537315), (0.2, -0.800091)]
)
def test_open_chain_has_fishers_energy(temperature, exact, over_relaxation):
    """The energy per bond is -(coth(J/T) - T/J) at every length (Fisher, Am. J. Phys. 32, 343 (1964))."""
    hamiltonian = Hamiltonian(boundary="open")
    schedule = at_temperature(temperature, 400, over_relaxation=over_relaxation)
    chains = np.stack([anneal(hamiltonian, (1, 201), schedule, seed=(3, n)) for n in range(100)])
    within(energy(chains, hamiltonian) * 201 / 200, exact)


@pytest.mark.parametrize(("temperature", "exact"), [(4.0, -0.168281), (2.0, -0.346041)])
def test_square_lattice_has_the_high_temperature_series(temperature, exact):
    """The energy is -2u - (12 u^3 + 36 u^5) u' with u = coth K - 1/K, u' = du/dK, K = J/T."""
    hamiltonian = Hamiltonian()
    samples = np.stack([anneal(hamiltonian, 64, at_temperature(temperature, 30), seed=(4, n)) for n in range(200)])
    within(energy(samples, hamiltonian), exact)


def test_labyrinths_reach_their_measured_energy():
    """1000 heat-bath sweeps from T = 1.2 and 1000 at T = 0 give -2.0417 J (measured with another program)."""
    schedule = AnnealSchedule(**PLAIN_QUENCH)
    samples = np.stack([anneal(LABYRINTH, 128, schedule, seed=(5, n)) for n in range(8)])
    assert energy(samples, LABYRINTH).mean() == pytest.approx(-2.0417, abs=5e-4)
    length = np.linalg.norm(effective_field(samples, LABYRINTH), axis=-1)
    extremes = np.median(length.min(axis=(1, 2))), np.median(length.max(axis=(1, 2)))
    assert extremes == pytest.approx((4.00, 4.14), abs=0.02)


def test_fast_schedule_gives_the_labyrinths_of_the_slow_one():
    """The means of energy, structure factor peak and charge agree within three standard errors of their difference."""
    reference_schedule = AnnealSchedule(sweeps=3000, **PLAIN_QUENCH)
    slow, fast = (
        anneal_many(LABYRINTH, 128, schedule, [(15 + n, n) for n in range(40)])
        for schedule in (reference_schedule, LABYRINTH_SCHEDULE)
    )
    pairs = [
        (energy(slow, LABYRINTH), energy(fast, LABYRINTH)),
        *zip(structure_factor_peak(slow), structure_factor_peak(fast)),
        (np.abs(topological_charge(slow)), np.abs(topological_charge(fast))),
    ]
    for slow_values, fast_values in pairs:
        error = np.hypot(slow_values.std(ddof=1), fast_values.std(ddof=1)) / np.sqrt(len(slow_values))
        assert abs(slow_values.mean() - fast_values.mean()) < 3 * error


@pytest.mark.parametrize("size", [(32, 32), (8, 52), (2, 130), (66, 4)])
@pytest.mark.parametrize("kind", ["interfacial", "bulk"])
def test_quench_leaves_no_torque(size, kind):
    """The kernel stops by its own fields, and the test computes torques with `effective_field`."""
    hamiltonian = Hamiltonian(dmi=0.3, dmi_kind=kind, external_field=(0.05, 0.1, 0.2))
    schedule = AnnealSchedule(sweeps=50, quench_sweeps=100_000, torque_tolerance=1e-5, quench_overshoot=0.9)
    spins = anneal(hamiltonian, size, schedule, seed=(6,))
    assert spins.shape == (*size, 3)
    assert spins.dtype == np.float32
    assert np.abs(np.linalg.norm(spins, axis=-1) - 1).max() < 1e-6
    assert np.linalg.norm(torque(spins, hamiltonian), axis=-1).max() < 1.2e-5


@pytest.mark.parametrize("size", [(5, 7), (1, 9), (16, 33), (3, 2)])
def test_open_lattices_of_any_size(size):
    hamiltonian = Hamiltonian(dmi=0.3, boundary="open", external_field=(0.0, 0.0, 0.1))
    schedule = AnnealSchedule(sweeps=50, quench_sweeps=100_000, torque_tolerance=1e-5, quench_overshoot=0.9)
    spins = anneal(hamiltonian, size, schedule, seed=(7,))
    assert np.linalg.norm(torque(spins, hamiltonian), axis=-1).max() < 1.2e-5


@pytest.mark.parametrize("hamiltonian", [LABYRINTH, DOMAIN], ids=["labyrinth", "domain"])
def test_default_quench_reaches_the_torque_tolerance(hamiltonian):
    spins = anneal_many(hamiltonian, 64, AnnealSchedule(sweeps=100), [(17, n) for n in range(4)])
    assert np.linalg.norm(torque(spins, hamiltonian), axis=-1).max() < 1.01e-4


def test_unreachable_tolerance_is_an_error(monkeypatch):
    monkeypatch.setattr(annealing, "LONGEST_QUENCH", 200)
    with pytest.raises(
        InputError, match=r"torque_tolerance: 1e-05 J is not reached in 200 sweeps, torques of .* remain"
    ):
        anneal(LABYRINTH, 64, AnnealSchedule(sweeps=5, torque_tolerance=1e-5), (18,))


def test_spins_are_reproducible_and_depend_on_the_seed():
    schedule = AnnealSchedule(sweeps=20, quench_sweeps=20, over_relaxation=1)
    first, again, other = (anneal(LABYRINTH, 32, schedule, seed=seed) for seed in ((8, 0), (8, 0), (8, 1)))
    assert first.tobytes() == again.tobytes()
    assert np.mean(np.abs(first - other)) > 0.1


def test_over_relaxation_keeps_the_energy():
    """One heat-bath sweep followed by 50 reflections gives the energy of the sweep without reflections."""
    hamiltonian = Hamiltonian(dmi=0.3, external_field=(0.1, 0.2, 0.3))
    before, after = (
        anneal(hamiltonian, 64, at_temperature(1.0, 1, over_relaxation=reflections), seed=(9,))
        for reflections in (0, 50)
    )
    assert np.mean(np.abs(before - after)) > 0.1
    assert energy(after, hamiltonian) == pytest.approx(float(energy(before, hamiltonian)), abs=2e-6)


def test_schedules():
    schedule = AnnealSchedule(start_temperature=1.0, end_temperature=0.01, sweeps=3)
    assert schedule.temperatures() == pytest.approx([1.0, 0.505, 0.01])
    assert schedule.with_updates(ramp="geometric").temperatures() == pytest.approx([1.0, 0.1, 0.01])
    piecewise = schedule.with_updates(sweeps=5, via=((0.5, 0.9),))
    assert piecewise.temperatures() == pytest.approx([1.0, 0.95, 0.9, 0.455, 0.01])
    geometric = piecewise.with_updates(sweeps=1001, ramp="geometric").temperatures()
    fractions = np.linspace(0, 1, 1001)
    expected = np.where(fractions < 0.5, 0.9 ** (2 * fractions), 0.9 * (0.01 / 0.9) ** (2 * fractions - 1))
    assert geometric == pytest.approx(expected, rel=1e-12)


def test_trace_records_the_ramp_without_changing_it():
    hamiltonian = Hamiltonian(dmi=0.3, anisotropy=0.1, external_field=(0.0, 0.0, 0.2))
    schedule = AnnealSchedule(sweeps=50, quench_sweeps=0)
    trace = Trace(every=10)
    traced = anneal(hamiltonian, 32, schedule, seed=(10,), trace=trace)
    assert traced.tobytes() == anneal(hamiltonian, 32, schedule, seed=(10,)).tobytes()
    assert trace.sweeps == [10, 20, 30, 40, 50]
    assert trace.temperature == pytest.approx(schedule.temperatures()[9::10])
    assert trace.energy[-1] == pytest.approx(float(energy(traced, hamiltonian)))
    assert trace.magnetization[-1] == pytest.approx(traced.mean(axis=(0, 1)), abs=1e-6)
    assert trace.energy[0] > trace.energy[-1]


def test_trace_ends_with_the_state_after_the_quench():
    trace = Trace(at=[3, 50])
    schedule = AnnealSchedule(sweeps=50, quench_sweeps=17, torque_tolerance=0.0)
    spins = anneal(LABYRINTH, 32, schedule, seed=(10,), trace=trace)
    assert trace.sweeps == [3, 50, 67]
    assert trace.temperature == pytest.approx([*schedule.temperatures()[[2, 49]], 0.0])
    assert trace.energy[-1] == float(energy(spins, LABYRINTH)) < trace.energy[-2]
    assert trace.acceptance == [1.0, 1.0, 1.0]


def test_acceptance_counts_all_trials_since_the_last_record():
    """Also in a field ramp, where the kernel is called for each sweep; records do not change the trials."""
    schedule = AnnealSchedule(sweeps=50, update="metropolis", start_field=(0.0, 0.0, 2.0), quench_sweeps=0)
    every_sweep, two_records = Trace(every=1), Trace(at=(20, 50))
    for trace in (every_sweep, two_records):
        anneal(LABYRINTH, 16, schedule, seed=(10,), trace=trace)
    assert two_records.acceptance == pytest.approx(
        [np.mean(every_sweep.acceptance[:20]), np.mean(every_sweep.acceptance[20:])]
    )
    assert len(set(every_sweep.acceptance)) > 10


def test_without_a_trace_the_ramp_is_one_call_of_the_kernel(monkeypatch):
    calls = []
    monkeypatch.setattr(Sampler, "heat_bath", lambda sampler, temperatures, _: calls.append(len(temperatures)))
    anneal(LABYRINTH, 8, AnnealSchedule(sweeps=50, quench_sweeps=0), seed=(10,))
    assert calls == [50]


def test_quenched_spins_have_no_torque_and_more_energy_than_annealed_ones():
    """`quench`, the greedy method of the 2021 paper, gives the same spins as a schedule without a ramp."""
    spins = quench(LABYRINTH, 32, (16, 0), torque_tolerance=1e-4)
    assert np.linalg.norm(torque(spins, LABYRINTH), axis=-1).max() < 1.1e-4
    schedule = AnnealSchedule(sweeps=0, quench_overshoot=0.0)
    assert spins.tobytes() == anneal(LABYRINTH, 32, schedule, (16, 0)).tobytes()
    assert energy(spins, LABYRINTH) > energy(anneal(LABYRINTH, 32, LABYRINTH_SCHEDULE, (16, 0)), LABYRINTH)
    start = reference.random_spins(np.random.default_rng(16), 8, 8)
    assert np.allclose(quench(LABYRINTH, 8, (16,), sweeps=0, start=start), start, atol=1e-6)


def test_external_field_is_ramped_from_the_start_field():
    """The field of the last sweep is the Hamiltonian's. Free spins follow the current field (Langevin function)."""
    hamiltonian = Hamiltonian(exchange=0.0, external_field=(0.0, 0.0, 1.0))
    schedule = at_temperature(0.5, 5, start_field=(0.0, 0.0, -1.0))
    trace = Trace(every=1)
    spins = anneal(hamiltonian, 256, schedule, seed=(11,), trace=trace)
    within(spins[..., 2].ravel(), reference.langevin(2.0))
    expected = [-reference.langevin(2.0), -reference.langevin(1.0), 0, reference.langevin(1.0), reference.langevin(2.0)]
    assert [m[2] for m in trace.magnetization] == pytest.approx(expected, abs=5 / 256)


def test_samples_do_not_depend_on_other_samples_of_the_call():
    schedule = AnnealSchedule(sweeps=30, quench_sweeps=10)
    seeds = [(12, n) for n in range(5)]
    together = anneal_many(DOMAIN, 16, schedule, seeds, threads=2)
    alone = np.stack([anneal(DOMAIN, 16, schedule, seed) for seed in seeds])
    assert together.tobytes() == alone.tobytes()


def test_annealing_starts_from_given_spins():
    start = reference.random_spins(np.random.default_rng(13), 16, 16)
    schedule = AnnealSchedule(sweeps=0, quench_sweeps=0)
    assert np.allclose(anneal(LABYRINTH, 16, schedule, seed=(13,), start=start), start, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"end_temperature": 2.0},
        {"sweeps": -1},
        {"start_temperature": 0.0},
        {"sweep": 3},
        {"via": ((0.5, 2.0),)},
        {"via": ((0.5, 0.5), (0.4, 0.4))},
        {"via": ((1.0, 0.5),)},
        {"over_relaxation": 1, "update": "metropolis"},
    ],
)
def test_invalid_schedules_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        AnnealSchedule(**changes)


@pytest.mark.paper
def test_domains_have_the_published_interpolation_errors():
    """Samples are strided by 4, 8 and 16 and resized bilinearly, shifted by (scale - 1) / 2 as in the 2023 paper.

    The published mean square errors are 0.0059, 0.028 and 0.0913. Their ratios depend on the width of the walls, and so
    on the form of the dipole term; their size depends on the length of the walls, and so on the cooling rate.
    """
    samples = anneal_many(DOMAIN, 128, DOMAIN_SCHEDULE, [(14, n) for n in range(16)])
    errors = [np.mean((_resized(samples[:, ::scale, ::scale], scale) - samples) ** 2) for scale in (4, 8, 16)]
    assert errors[1] / errors[0] == pytest.approx(0.028 / 0.0059, rel=0.1)
    assert errors[2] / errors[1] == pytest.approx(0.0913 / 0.028, rel=0.1)
    assert errors == pytest.approx([0.0059, 0.028, 0.0913], rel=0.2)


def _resized(coarse, scale):
    """Bilinear resizing with aligned pixel centers and repeated edges."""
    for axis in (1, 2):
        length = coarse.shape[axis]
        position = np.clip((np.arange(length * scale) + 0.5) / scale - 0.5, 0, length - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, length - 1)
        weight = (position - low).reshape([-1 if n == axis else 1 for n in range(4)])
        coarse = coarse.take(low, axis) * (1 - weight) + coarse.take(high, axis) * weight
    return coarse


@pytest.mark.paper
@pytest.mark.parametrize(
    ("field", "mean", "charge"),
    [(0.01, 0.120, 10), (0.03, 0.348, 26), (0.05, 0.526, 34), (0.07, 0.692, 28), (0.09, 0.895, 14), (0.12, 1.0, 0)],
)
def test_labyrinths_become_skyrmions_in_a_field(field, mean, charge):
    """Labyrinths cooled in the field (protocol of the 2021 paper) have the <S_z> and charge of another program.

    The cores of skyrmions point against H. 3000 sweeps are needed near saturation, where skyrmions continue to vanish:
    1000 sweeps leave three more of them at H = 0.09.
    """
    hamiltonian = LABYRINTH.with_updates(external_field=(0.0, 0.0, field))
    samples = anneal_many(hamiltonian, 128, AnnealSchedule(sweeps=3000, **PLAIN_QUENCH), [(15, n) for n in range(8)])
    assert magnetization(samples)[:, 2].mean() == pytest.approx(mean, abs=0.02)
    charges = topological_charge(samples)
    assert charges == pytest.approx(np.round(charges), abs=1e-4)
    assert -charges.mean() == pytest.approx(charge, abs=3.5)
