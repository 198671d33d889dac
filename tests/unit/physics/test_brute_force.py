"""All moves against a program that shares nothing with them: every pair in one matrix, single spins, Metropolis.

Its local fields are kept up to date spin by spin (the incremental field), so that the dipole term is exact at every
trial; trials are uniform on the sphere, so that there is nothing to adapt. It needs time with the square of the number
of sites: lattices are small, and statistics do the comparison.
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
def test_averages_are_those_of_brute_force(name, temperature, move):
    """Energy, its square and the mean squares of spin components and of the mean spin: within 4.5 standard errors."""
    expected = brute_force(name, temperature)
    found = []
    for n in range(REPLICAS):
        sampler = Sampler(MODELS[name], SIZE, seed=(31, n))
        sampler.metropolis(np.full(300, temperature))
        kept = []
        for _ in range(600):
            move(sampler, np.full(3, temperature))
            kept.append(sampler.spins)
        found.append(observed(np.stack(kept).astype(np.float64), name))
    found = np.array(found)
    error = np.sqrt((found.var(axis=0, ddof=1) + expected.var(axis=0, ddof=1)) / REPLICAS)
    deviation = (found.mean(axis=0) - expected.mean(axis=0)) / error
    assert np.abs(deviation).max() < 4.5, deviation


@functools.cache
def brute_force(name, temperature):
    """What `observed` says of independent runs of the other program, (replicas, observables)."""
    model = MODELS[name]
    axis = np.array(model.anisotropy_axis) / math.hypot(*model.anisotropy_axis)
    field = np.array(model.external_field)
    found = []
    for n in range(REPLICAS):
        rng = np.random.default_rng((32, n))
        start = reference.random_spins(rng, SITES)
        spins = run(start, pairs(name), model.anisotropy, axis, field, temperature, 300, 3600, 3, rng)
        found.append(observed(spins.reshape(-1, *SIZE, 3), name))
    return np.array(found)


def observed(spins, name):
    """Means over configurations (n, rows, columns, 3), whose energies are those of the matrix."""
    energies, mean_spin = total_energies(spins, name), spins.mean(axis=(1, 2))
    squares = np.mean(spins**2, axis=(0, 1, 2))[1:]
    return np.array([energies.mean(), (energies**2).mean(), *squares, *np.mean(mean_spin**2, axis=0)])


def total_energies(spins, name):
    """Of the whole lattice, (n,), in J, for (n, rows, columns, 3)."""
    model = MODELS[name]
    matrix = pairs(name).transpose(0, 2, 1, 3).reshape(3 * SITES, 3 * SITES)
    flat = spins.reshape(-1, 3 * SITES)
    axis = np.array(model.anisotropy_axis) / math.hypot(*model.anisotropy_axis)
    along = model.anisotropy * (spins @ axis) ** 2 + spins @ np.array(model.external_field)
    return 0.5 * np.sum(flat @ matrix * flat, axis=1) - along.sum(axis=(1, 2))


@functools.cache
def pairs(name, images=40):
    """The energy as a quadratic form 1/2 sum_ij S_i . A_ij S_j, (sites, sites, 3, 3), without anisotropy and field."""
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
        # Enough copies for a square of them; the rest as a continuum, as in `reference.dipole_energy`.
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
    """Configurations (sweeps / every, sites, 3) after a warm-up; a sweep is as many trials as there are sites."""
    sites = len(spins)
    pulls = np.zeros((sites, 3))
    for i in range(sites):
        pull(pulls, matrix, i, spins[i])
    kept = np.empty((sweeps // every, sites, 3))
    for sweep in range(warm_up + sweeps):
        for _ in range(sites):
            i = rng.integers(0, sites)
            trial = rng.standard_normal(3)
            trial /= np.sqrt(np.sum(trial**2))
            change = trial - spins[i]
            cost = -anisotropy * (np.sum(trial * axis) ** 2 - np.sum(spins[i] * axis) ** 2) - np.sum(change * external)
            for a in range(3):
                cost += change[a] * pulls[i, a]
                for b in range(3):
                    # A spin's own images: the change meets them once more.
                    cost += 0.5 * change[a] * matrix[i, i, a, b] * change[b]
            if rng.random() < np.exp(-cost / temperature):
                spins[i] = trial
                pull(pulls, matrix, i, change)
        if sweep >= warm_up and (sweep - warm_up) % every == 0:
            kept[(sweep - warm_up) // every] = spins
    return kept


@numba.njit
def pull(pulls, matrix, i, change):
    """Adds to what all sites feel of the others when site i changes."""
    for j in range(len(pulls)):
        for a in range(3):
            for b in range(3):
                pulls[j, a] += matrix[i, j, b, a] * change[b]


@pytest.mark.parametrize("name", MODELS)
def test_both_programs_mean_the_same_energy(name):
    """Also a check of the tail of the dipole sum, by Ewald's method."""
    spins = reference.random_spins(np.random.default_rng(33), 5, *SIZE)
    assert SITES * energy(spins, MODELS[name]) == pytest.approx(total_energies(spins, name), abs=2e-4)
