"""Comparison of all moves with an independent Metropolis program that has all pair interactions in one matrix.

The program updates the local fields after each accepted trial, so that the dipole term is exact at every trial. Trials
are uniform on the sphere and need no adaptation. Its time grows with the square of the number of sites, so the lattices
are small, and averages are compared.
"""

from __future__ import annotations

import functools
import math

import numba
import numpy as np
import pytest

from rayspin.physics import DOMAIN, Hamiltonian, Sampler, energy
from tests.support import reference

SIZE = (4, 6)
SITES = 24
REPLICAS = 12

MODELS = {
    "exchange and dmi": Hamiltonian(dmi=0.6, external_field=(0.3, 0.0, 0.4)),
    "open, bulk": Hamiltonian(dmi=0.6, dmi_kind="bulk", external_field=(0.0, 0.4, 0.0), boundary="open"),
    "domain": DOMAIN,
    "dipole": Hamiltonian(dipole=0.2),
    "strong dipole": Hamiltonian(exchange=0.5, dipole=0.8, anisotropy=1.5),
    "dipole alone": Hamiltonian(exchange=0.0, dipole=0.7),
    "easy plane": Hamiltonian(anisotropy=-1.5, anisotropy_axis=(1.0, 2.0, -2.0)),
    "all": Hamiltonian(
        exchange=0.7,
        dmi=-0.5,
        dmi_kind="bulk",
        dipole=0.3,
        anisotropy=1.1,
        anisotropy_axis=(1.0, 0.0, 1.0),
        external_field=(0.1, 0.2, 0.3),
    ),
}


def heat_bath(sampler, temperatures):
    sampler.heat_bath(temperatures)


def over_relaxed(sampler, temperatures):
    sampler.heat_bath(temperatures, 3)


def metropolis(sampler, temperatures):
    sampler.metropolis(temperatures, adapt=False)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("move", [heat_bath, over_relaxed, metropolis])
def test_averages_agree_with_brute_force(name, temperature, move):
    """Means of energies, their squares, squared spin components and squared mean spins agree within 4.5 errors."""
    expected = brute_force(name, temperature)
    results = []
    for n in range(REPLICAS):
        sampler = Sampler(MODELS[name], SIZE, seed=(31, n))
        sampler.metropolis(np.full(300, temperature))
        configurations = []
        for _ in range(600):
            move(sampler, np.full(3, temperature))
            configurations.append(sampler.spins)
        results.append(observables(np.stack(configurations).astype(np.float64), name))
    results = np.array(results)
    error = np.sqrt((results.var(axis=0, ddof=1) + expected.var(axis=0, ddof=1)) / REPLICAS)
    deviation = (results.mean(axis=0) - expected.mean(axis=0)) / error
    assert np.abs(deviation).max() < 4.5, deviation


@functools.cache
def brute_force(name, temperature):
    """Return the observables of independent runs of the other program, of shape (replicas, observables)."""
    model = MODELS[name]
    axis = np.array(model.anisotropy_axis) / math.hypot(*model.anisotropy_axis)
    field = np.array(model.external_field)
    results = []
    for n in range(REPLICAS):
        rng = np.random.default_rng((32, n))
        start = reference.random_spins(rng, SITES)
        spins = run(start, pairs(name), model.anisotropy, axis, field, temperature, 300, 3600, 3, rng)
        results.append(observables(spins.reshape(-1, *SIZE, 3), name))
    return np.array(results)


def observables(spins, name):
    """Return means over configurations (n, rows, columns, 3), with energies computed from the matrix."""
    energies, mean_spin = total_energies(spins, name), spins.mean(axis=(1, 2))
    squares = np.mean(spins**2, axis=(0, 1, 2))[1:]
    return np.array([energies.mean(), (energies**2).mean(), *squares, *np.mean(mean_spin**2, axis=0)])


def total_energies(spins, name):
    """Return the energy of the lattice in J, of shape (n,), for configurations (n, rows, columns, 3)."""
    model = MODELS[name]
    matrix = pairs(name).transpose(0, 2, 1, 3).reshape(3 * SITES, 3 * SITES)
    flat = spins.reshape(-1, 3 * SITES)
    axis = np.array(model.anisotropy_axis) / math.hypot(*model.anisotropy_axis)
    along = model.anisotropy * (spins @ axis) ** 2 + spins @ np.array(model.external_field)
    return 0.5 * np.sum(flat @ matrix * flat, axis=1) - along.sum(axis=(1, 2))


@functools.cache
def pairs(name, images=40):
    """Return A (sites, sites, 3, 3) of the energy 1/2 sum_ij S_i . A_ij S_j, without anisotropy and external field."""
    model = MODELS[name]
    rows, columns = SIZE
    sites = list(np.ndindex(rows, columns))
    matrix = np.zeros((SITES, SITES, 3, 3))
    for a, b, r in reference.bonds(rows, columns, model.boundary == "periodic"):
        i, j = sites.index(a), sites.index(b)
        x, y, z = reference.dmi_vector(model, r)
        # D . (S_i x S_j) = S_i . (S_j x D).
        bond = -model.exchange * np.eye(3) + np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])
        matrix[i, j] += bond
        matrix[j, i] += bond.T
    if model.dipole:
        # The copies cover a square; the rest is a continuum, as in `reference.dipole_energy`.
        height = images * columns // rows
        n, m = np.meshgrid(np.arange(-images, images + 1), np.arange(-height, height + 1))
        half = (images + 0.5) * columns, (height + 0.5) * rows
        # The integral of r^-3 over the plane outside a rectangle of these half sides.
        beyond = 4 * math.hypot(*half) / (half[0] * half[1]) / SITES
        for i, j in np.ndindex(SITES, SITES):
            y, x = np.subtract(sites[j], sites[i])
            r = np.stack([x + n * columns, y + m * rows, 0 * n], axis=-1).reshape(-1, 3).astype(float)
            r = r[np.any(r != 0, axis=1)]
            length = np.linalg.norm(r, axis=1)
            tensor = np.eye(3) * np.sum(length**-3) - 3 * np.einsum("na,nb,n->ab", r, r, length**-5)
            matrix[i, j] += model.dipole * (tensor + beyond * np.diag([-0.5, -0.5, 1.0]))
    return matrix


@numba.njit
def run(spins, matrix, anisotropy, axis, external, temperature, warm_up, sweeps, every, rng):
    """Return configurations (sweeps / every, sites, 3) after a warm-up; a sweep has one trial per site on average."""
    sites = len(spins)
    local_fields = np.zeros((sites, 3))
    for i in range(sites):
        update_local_fields(local_fields, matrix, i, spins[i])
    configurations = np.empty((sweeps // every, sites, 3))
    for sweep in range(warm_up + sweeps):
        for _ in range(sites):
            i = rng.integers(0, sites)
            trial = rng.standard_normal(3)
            trial /= np.sqrt(np.sum(trial**2))
            change = trial - spins[i]
            energy_change = -anisotropy * (np.sum(trial * axis) ** 2 - np.sum(spins[i] * axis) ** 2) - np.sum(
                change * external
            )
            for a in range(3):
                energy_change += change[a] * local_fields[i, a]
                for b in range(3):
                    # The images of the spin itself contribute to second order in the change.
                    energy_change += 0.5 * change[a] * matrix[i, i, a, b] * change[b]
            if rng.random() < np.exp(-energy_change / temperature):
                spins[i] = trial
                update_local_fields(local_fields, matrix, i, change)
        if sweep >= warm_up and (sweep - warm_up) % every == 0:
            configurations[(sweep - warm_up) // every] = spins
    return configurations


@numba.njit
def update_local_fields(local_fields, matrix, i, change):
    """Update the local fields of all sites after a change of the spin at site i."""
    for j in range(len(local_fields)):
        for a in range(3):
            for b in range(3):
                local_fields[j, a] += matrix[i, j, b, a] * change[b]


@pytest.mark.parametrize("name", MODELS)
def test_energy_agrees_with_brute_force(name):
    """The energies also verify the tail of the dipole sum by Ewald's method."""
    spins = reference.random_spins(np.random.default_rng(33), 5, *SIZE)
    assert SITES * energy(spins, MODELS[name]) == pytest.approx(total_energies(spins, name), abs=2e-4)
