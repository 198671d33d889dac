"""Time per spin update on one core, for 128 x 128 spins by default; `make bench` gives figures.

Without --benchmark-enable the benchmarks are tests. `extra_info` contains the median time per update in nanoseconds,
which is comparable within one run only. NOTES.md contains predictions and measurements.
"""

from __future__ import annotations

import random
import time

import numba
import numpy as np
import pytest

from rayspin.physics import (
    DOMAIN,
    DOMAIN_SCHEDULE,
    LABYRINTH,
    LABYRINTH_SCHEDULE,
    AnnealSchedule,
    Sampler,
    anneal,
    anneal_many,
    effective_field,
    energy,
)

TEMPERATURE = 0.3


def per_update(benchmark, move, sweeps, sites, updates_per_sweep=1):
    benchmark.pedantic(move, rounds=30, iterations=1, warmup_rounds=2)
    if benchmark.enabled:
        seconds = benchmark.stats.stats.median
        benchmark.extra_info["ns_per_update"] = round(1e9 * seconds / (sweeps * updates_per_sweep * sites), 3)


@pytest.mark.parametrize("size", [32, 64, 128, 256, 1024])
def test_heat_bath(benchmark, size):
    sampler = Sampler(LABYRINTH, size, seed=(1,))
    temperatures = np.full(max(1, 50 * 128**2 // size**2), TEMPERATURE)
    per_update(benchmark, lambda: sampler.heat_bath(temperatures), len(temperatures), size**2)
    assert energy(sampler.spins, LABYRINTH) < -0.9


def test_over_relaxation(benchmark):
    """Time per update of a hundred reflections and one heat-bath update."""
    sampler = Sampler(LABYRINTH, 128, seed=(2,))
    temperatures = np.full(1, TEMPERATURE)
    sampler.heat_bath(np.full(20, TEMPERATURE), 1)
    per_update(benchmark, lambda: sampler.heat_bath(temperatures, 100), 1, 128**2, 101)
    assert energy(sampler.spins, LABYRINTH) < -0.9


def test_metropolis(benchmark):
    sampler = Sampler(LABYRINTH, 128, seed=(3,))
    temperatures = np.full(20, TEMPERATURE)
    per_update(benchmark, lambda: sampler.metropolis(temperatures), 20, 128**2)
    assert energy(sampler.spins, LABYRINTH) < -0.5


def test_quench(benchmark):
    sampler = Sampler(LABYRINTH, 128, seed=(4,))
    per_update(benchmark, lambda: sampler.quench(50, 0.0, 0.95), 50, 128**2)
    assert energy(sampler.spins, LABYRINTH) < -1.8


@pytest.mark.parametrize("over_relaxation", [0, 4])
def test_domain(benchmark, over_relaxation):
    """Time per update with dipole interaction and anisotropy, including the draws of the auxiliary field."""
    sampler = Sampler(DOMAIN, 128, seed=(5,))
    temperatures = np.full(20, TEMPERATURE)
    move = lambda: sampler.heat_bath(temperatures, over_relaxation)  # noqa: E731
    per_update(benchmark, move, 20, 128**2, 1 + over_relaxation)
    assert energy(sampler.spins, DOMAIN) < -1.2


@pytest.mark.parametrize("model", [LABYRINTH, DOMAIN], ids=["labyrinth", "domain"])
def test_sample(benchmark, model):
    """Time of one sample with the default schedule of docs/schedules.md."""
    schedule = DOMAIN_SCHEDULE if model.dipole else LABYRINTH_SCHEDULE
    sample = benchmark.pedantic(anneal, (model, 128, schedule, (6,)), rounds=3, warmup_rounds=1)
    assert energy(sample, model) < -2.03


def test_threads(benchmark):
    """Time of sixteen samples on all cores relative to one core, measured alternately."""
    seeds = [(7, n) for n in range(16)]
    schedule = AnnealSchedule(sweeps=200, quench_sweeps=200)
    seconds = {1: [], None: []}

    def alternate():
        for threads, times in seconds.items():
            start = time.perf_counter()
            samples = anneal_many(LABYRINTH, 128, schedule, seeds, threads)
            times.append(time.perf_counter() - start)
            assert np.all(energy(samples, LABYRINTH) < -2.0)

    benchmark.pedantic(alternate, rounds=9, warmup_rounds=1)
    benchmark.extra_info["all cores over one"] = round(float(np.median(np.divide(*seconds.values()))), 2)


@pytest.mark.parametrize("function", [effective_field, energy], ids=["field", "energy"])
@pytest.mark.parametrize("model", [LABYRINTH, DOMAIN], ids=["labyrinth", "domain"])
def test_field_and_energy(benchmark, model, function):
    spins = Sampler(LABYRINTH, 128, seed=(8,)).spins
    benchmark.pedantic(function, (spins, model), rounds=20, warmup_rounds=2)


@numba.njit
def plain_sweep(spins, beta):
    """A simple scalar heat bath that updates site by site, with libm and Numba's random number generator."""
    size = spins.shape[0]
    for row in range(size):
        for column in range(size):
            lx, ly, lz = spins[row, (column - 1) % size]
            rx, ry, rz = spins[row, (column + 1) % size]
            bx, by, bz = spins[(row - 1) % size, column]
            ax, ay, az = spins[(row + 1) % size, column]
            hx = lx + rx + bx + ax + 0.3 * (rz - lz)
            hy = ly + ry + by + ay + 0.3 * (az - bz)
            hz = lz + rz + bz + az - 0.3 * (rx - lx + ay - by)
            h = np.sqrt(hx * hx + hy * hy + hz * hz)
            cosine = 1 + np.log1p(random.random() * np.expm1(-2 * beta * h)) / (beta * h)
            sine, azimuth = np.sqrt(max(0.0, 1 - cosine * cosine)), 2 * np.pi * random.random()
            nx, ny, nz = hx / h, hy / h, hz / h
            transverse = np.sqrt(nx * nx + ny * ny) + 1e-30
            ux, uy = -ny / transverse, nx / transverse
            p, q = sine * np.cos(azimuth), sine * np.sin(azimuth)
            spins[row, column, 0] = cosine * nx + p * ux - q * nz * uy
            spins[row, column, 1] = cosine * ny + p * uy + q * nz * ux
            spins[row, column, 2] = cosine * nz + q * transverse


def test_plain_numba_loop(benchmark):
    """Reference for the speed of the vectorized kernels; it must reach the same energy."""
    spins = Sampler(LABYRINTH, 128, seed=(9,)).spins.astype(np.float64)

    def move():
        for _ in range(10):
            plain_sweep(spins, 1 / TEMPERATURE)

    per_update(benchmark, move, 10, 128**2)
    for _ in range(10):
        move()
    # The published energy at T = 0.3 in equilibrium is -1.72766, which the lattice approaches in a hundred sweeps.
    assert energy(spins, LABYRINTH) == pytest.approx(-1.728, abs=0.02)


def test_spirit_monte_carlo(benchmark):
    """Reference for speed only: Spirit's moves mix old and new neighbors, so its averages are not Boltzmann's."""
    pytest.importorskip("spirit")
    from spirit import configuration, constants, geometry, hamiltonian, parameters, simulation, state, system

    with state.State("", quiet=True) as handle:
        geometry.set_n_cells(handle, [128, 128, 1])
        geometry.set_mu_s(handle, 1.0)
        hamiltonian.set_boundary_conditions(handle, [True, True, False])
        hamiltonian.set_field(handle, 0.0, [0.0, 0.0, 1.0])
        hamiltonian.set_ddi(handle, 0)
        hamiltonian.set_exchange(handle, 1, [1.0])
        hamiltonian.set_dmi(handle, 1, [0.3], chirality=2)
        parameters.mc.set_temperature(handle, TEMPERATURE / constants.k_B)
        configuration.random(handle)
        simulation.start(handle, simulation.METHOD_MC, single_shot=True)
        per_update(benchmark, lambda: simulation.n_shot(handle, 5), 5, 128**2)
        simulation.stop(handle)
        system.update_data(handle)
        assert system.get_energy(handle) / 128**2 < -0.2
