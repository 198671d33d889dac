"""Moves of a `Sampler`: exact averages, agreement with other programs, and independence of the split into calls."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian, energy, torque
from rayspin.physics.sampling import Sampler
from tests.support import reference
from tests.support.statistics import within


def averages(hamiltonian, size, temperature, replicas, sweeps, over_relaxation=0):
    """Return the mean energy per site and the mean S_z^2 of each replica, sampled every 5 sweeps after 300 sweeps."""
    energies, squares = [], []
    for n in range(replicas):
        sampler = Sampler(hamiltonian, size, seed=(11, n))
        sampler.heat_bath(np.full(300, temperature), over_relaxation)
        fields = []
        for _ in range(sweeps // 5):
            sampler.heat_bath(np.full(5, temperature), over_relaxation)
            fields.append(sampler.spins)
        energies.append(energy(np.stack(fields), hamiltonian).mean())
        squares.append(np.mean(np.stack(fields)[..., 2].astype(np.float64) ** 2))
    return np.array(energies), np.array(squares)


@pytest.mark.parametrize(("temperature", "mean_energy", "square"), [(0.6, -1.3976, 0.2855), (0.9, -0.9386, 0.3458)])
@pytest.mark.parametrize("over_relaxation", [0, 2])
def test_dipole_and_anisotropy_agree_with_brute_force(temperature, mean_energy, square, over_relaxation):
    """The reference is a local-update program with incremental fields for 16 x 16 sites."""
    energies, squares = averages(DOMAIN, 16, temperature, 16, 1000, over_relaxation)
    within(energies, mean_energy)
    within(squares, square)


@pytest.mark.parametrize("strength", [2.0, -2.0])
@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (1.0, 2.0, -2.0)])
def test_free_spins_with_anisotropy(strength, axis):
    """For independent spins <(S.a)^2> is a ratio of one-dimensional integrals over exp(K s^2 / T)."""
    hamiltonian = Hamiltonian(exchange=0.0, anisotropy=strength, anisotropy_axis=axis)
    s = np.linspace(-1, 1, 20001)
    weight = np.exp(strength * s**2 / 0.8)
    exact = np.sum(s**2 * weight) / np.sum(weight)
    sampler = Sampler(hamiltonian, 128, seed=(12,))
    sampler.heat_bath(np.full(200, 0.8))
    along = sampler.spins.astype(np.float64) @ hamiltonian.unit_axis
    within(along.ravel() ** 2, exact)
    within(along.ravel(), 0.0)


def test_all_terms_on_a_torus_of_eight_spins():
    """The exact average is computed by integration over random directions."""
    hamiltonian = Hamiltonian(exchange=0.3, dipole=0.1, dmi=0.2, dmi_kind="bulk", anisotropy=0.3)
    rng = np.random.default_rng(13)
    trials = reference.random_spins(rng, 10_000, 2, 4)
    energies = 8 * energy(trials, hamiltonian)
    weights = np.exp(-energies / 2.0)
    exact = np.sum(weights * energies) / weights.sum()
    spread = np.sqrt(np.sum((weights * (energies - exact)) ** 2)) / weights.sum()
    measured = 8 * averages(hamiltonian, (2, 4), 2.0, 20, 1000)[0]
    error = np.hypot(spread, measured.std(ddof=1) / np.sqrt(measured.size))
    assert abs(measured.mean() - exact) < 4 * error


@pytest.mark.parametrize("hamiltonian", [LABYRINTH, DOMAIN, Hamiltonian(anisotropy=0.3, dmi=0.3, dmi_kind="bulk")])
def test_split_into_calls_does_not_change_the_spins(hamiltonian):
    temperatures = np.linspace(1.0, 0.3, 23)
    whole, split = (Sampler(hamiltonian, 16, seed=(14,)) for _ in range(2))
    whole.heat_bath(temperatures, 1)
    for first, last in ((0, 1), (1, 7), (7, 7), (7, 20), (20, 23)):
        split.heat_bath(temperatures[first:last], 1)
    assert whole.spins.tobytes() == split.spins.tobytes()


@pytest.mark.parametrize("kind", ["interfacial", "bulk"])
def test_sampler_starts_from_given_spins(kind):
    start = reference.random_spins(np.random.default_rng(15), 6, 34)
    sampler = Sampler(Hamiltonian(dmi=0.3, dmi_kind=kind, anisotropy=0.1), (6, 34), (1,), start=start)
    assert np.allclose(sampler.spins, start, atol=1e-7)


@pytest.mark.parametrize(
    "hamiltonian",
    [DOMAIN, Hamiltonian(dipole=0.2, dmi=0.3, dmi_kind="bulk", anisotropy=0.4, anisotropy_axis=(1, 0, 1))],
)
def test_quench_with_dipole_lowers_the_energy_and_leaves_no_torque(hamiltonian):
    sampler = Sampler(hamiltonian, (16, 24), seed=(16,))
    sampler.heat_bath(np.linspace(1.0, 0.1, 50))
    energies = [energy(sampler.spins, hamiltonian)]
    for _ in range(20):
        sampler.quench(5, 0.0)
        energies.append(energy(sampler.spins, hamiltonian))
    assert np.all(np.diff(energies) < 1e-6)
    sampler.quench(100_000, 1e-4, 0.9)
    assert np.linalg.norm(torque(sampler.spins, hamiltonian), axis=-1).max() < 1.1e-4


@pytest.mark.parametrize(
    ("temperature", "exact", "other"),
    [
        (2.0, -0.346041, 0.0),
        (1.0, -0.75984, 13e-5),
        (0.7, -1.14681, 39e-5),
        (0.5, -1.45019, 26e-5),
        (0.2, -1.79411, 11e-5),
    ],
)
def test_heat_bath_over_relaxation_and_metropolis_agree_on_the_square_lattice(temperature, exact, other):
    """The references are the series at T = 2, and energies of another Monte Carlo program with their errors."""
    heat_bath, reflected, metropolis = [], [], []
    for n in range(8):
        samplers = [Sampler(Hamiltonian(), 64, seed=(17, n, number)) for number in range(3)]
        for sampler in samplers:
            sampler.heat_bath(np.linspace(2.0, temperature, 300), 3)
        samplers[2].metropolis(np.full(300, temperature))
        for _ in range(60):
            samplers[0].heat_bath(np.full(20, temperature))
            samplers[1].heat_bath(np.full(5, temperature), 3)
            samplers[2].metropolis(np.full(40, temperature), adapt=False)
            for sampler, energies in zip(samplers, (heat_bath, reflected, metropolis)):
                energies.append(energy(sampler.spins, Hamiltonian()))
    for energies in (heat_bath, reflected, metropolis):
        means = np.reshape(energies, (8, 60))[:, 10:].mean(axis=1)
        error = np.hypot(means.std(ddof=1) / np.sqrt(8), other)
        assert abs(means.mean() - exact) < 4 * error


@pytest.mark.parametrize(("temperature", "exact"), [(1.0, -0.330737), (0.5, -0.564197)])
def test_chain_with_dmi_has_the_energy_of_its_transfer_matrix(temperature, exact):
    """The reference is the energy per site of an infinite chain with D = 0.3, which maps to an XXZ chain."""
    hamiltonian = Hamiltonian(dmi=0.3, boundary="open")
    energies = []
    for n in range(20):
        sampler = Sampler(hamiltonian, (1, 8001), seed=(22, n))
        sampler.heat_bath(np.full(300, temperature), 1)
        energies.append(energy(sampler.spins, hamiltonian) * 8001 / 8000)
    within(energies, exact)


@pytest.mark.parametrize(
    ("temperature", "exact", "error"),
    [(2.0, -0.36761, 26e-5), (1.0, -0.80914, 32e-5), (0.5, -1.49166, 20e-5), (0.3, -1.72766, 10e-5)],
)
@pytest.mark.parametrize("kind", ["interfacial", "bulk"])
def test_square_lattice_with_dmi(temperature, exact, error, kind):
    """The reference is another Monte Carlo program with its errors; the energy does not depend on the kind of DMI."""
    hamiltonian = Hamiltonian(dmi=0.3, dmi_kind=kind)
    energies = []
    for n in range(8):
        sampler = Sampler(hamiltonian, 128, seed=(23, n))
        sampler.heat_bath(np.linspace(2.0, temperature, 400), 4)
        sampler.heat_bath(np.full(200, temperature), 4)
        for _ in range(10):
            sampler.heat_bath(np.full(10, temperature), 4)
            energies.append(energy(sampler.spins, hamiltonian))
    means = np.reshape(energies, (8, 10)).mean(axis=1)
    assert abs(means.mean() - exact) < 4 * np.hypot(error, means.std(ddof=1) / np.sqrt(8))
