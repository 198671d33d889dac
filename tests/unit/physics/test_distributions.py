"""Chi-square tests of sampled distributions with fixed seeds, and detailed balance of single moves.

The exact distributions are those of independent spins and of the bonds of an open chain, which are independent as well.
"""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics import Hamiltonian, Sampler
from tests.support import reference

BINS = 20
CHI_SQUARE_BOUND = 43.8
"""Bound for chi square with 19 degrees of freedom, which is exceeded with probability 0.001."""

DIRECTION = np.array([0.6, 0.0, -0.8])


def heat_bath(sampler, temperature, sweeps):
    sampler.heat_bath(np.full(sweeps, temperature))


def over_relaxed(sampler, temperature, sweeps):
    sampler.heat_bath(np.full(sweeps, temperature), 2)


def metropolis(sampler, temperature, sweeps):
    assert 0 < sampler.metropolis(np.full(3 * sweeps, temperature)) < 1
    sampler.metropolis(np.full(sweeps, temperature), adapt=False)


MOVES = [heat_bath, over_relaxed, metropolis]


def chi_square(values, density, low=-1.0, high=1.0):
    """Chi square of values, in bins of equal probability, for a density proportional to `density` in [low, high]."""
    grid = np.linspace(low, high, 200_001)
    weights = density((grid[1:] + grid[:-1]) / 2)
    cumulative = np.concatenate([[0], np.cumsum(weights)]) / weights.sum()
    uniform = np.interp(values.ravel(), grid, cumulative)
    counts = np.histogram(uniform, bins=BINS, range=(0, 1))[0]
    return np.sum((counts - uniform.size / BINS) ** 2) / (uniform.size / BINS)


def azimuths(spins, axis):
    """Angles of spins around an axis, in (-pi, pi)."""
    first = np.cross(axis, [0.0, 1.0, 0.0])
    first /= np.linalg.norm(first)
    return np.arctan2(spins @ np.cross(axis, first), spins @ first)


def along(spins, axis):
    return spins.astype(np.float64) @ axis


@pytest.mark.parametrize("temperature", [0.01, 0.3, 1.0, 5.0, 500.0])
@pytest.mark.parametrize("move", MOVES)
def test_free_spins_in_a_field(move, temperature):
    """The density is exp(h cos / T) with h = 1, and uniform around the field."""
    sampler = Sampler(Hamiltonian(exchange=0.0, external_field=tuple(DIRECTION)), 512, seed=(19,))
    move(sampler, temperature, 1 if move is heat_bath else 100)
    assert chi_square(along(sampler.spins, DIRECTION), lambda c: np.exp((c - 1) / temperature)) < CHI_SQUARE_BOUND
    assert chi_square(azimuths(sampler.spins, DIRECTION), np.ones_like, -np.pi, np.pi) < CHI_SQUARE_BOUND


@pytest.mark.parametrize("temperature", [0.3, 0.7, 4.0])
@pytest.mark.parametrize("strength", [1.2, -1.2])
@pytest.mark.parametrize("move", MOVES)
def test_free_spins_with_anisotropy_and_a_field_along_its_axis(move, strength, temperature):
    """The density of s = S . axis is exp((K s^2 + h s) / T), and uniform around the axis."""
    hamiltonian = Hamiltonian(
        exchange=0.0, anisotropy=strength, anisotropy_axis=tuple(DIRECTION), external_field=tuple(0.3 * DIRECTION)
    )
    sampler = Sampler(hamiltonian, 256, seed=(20,))
    # Slow cooling is needed, because at low temperatures spins rarely cross the anisotropy barrier.
    sampler.heat_bath(np.geomspace(20.0, temperature, 300))
    move(sampler, temperature, 600)

    def density(s):
        return np.exp((strength * s**2 + 0.3 * s - abs(strength)) / temperature)

    assert chi_square(along(sampler.spins, DIRECTION), density) < CHI_SQUARE_BOUND
    assert chi_square(azimuths(sampler.spins, DIRECTION), np.ones_like, -np.pi, np.pi) < CHI_SQUARE_BOUND


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("move", MOVES)
def test_bonds_of_an_open_chain(move, temperature):
    """c = S_i . S_(i + 1) are independent with density exp(J c / T) (Fisher, Am. J. Phys. 32, 343 (1964))."""
    samplers = [Sampler(Hamiltonian(boundary="open"), (1, 16_001), seed=(21, n)) for n in range(3)]
    for sampler in samplers:
        move(sampler, temperature, 1000)
    spins = np.stack([sampler.spins[0] for sampler in samplers]).astype(np.float64)
    bonds = np.sum(spins[:, 1:] * spins[:, :-1], axis=-1)
    assert chi_square(bonds, lambda c: np.exp((c - 1) / temperature)) < CHI_SQUARE_BOUND


@pytest.mark.parametrize("temperature", [0.4, 2.0])
@pytest.mark.parametrize("strength", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("move", ["heat bath", "metropolis"])
def test_single_moves_satisfy_detailed_balance(move, strength, temperature):
    """In the exact distribution of free spins, the rates from a to b and from b to a are equal.

    The draw of the auxiliary field and the heat bath in it are reversible together, but not separately. The test is chi
    square of n_ab - n_ba over pairs of bins.
    """
    model = Hamiltonian(
        exchange=0.0, anisotropy=strength, anisotropy_axis=tuple(DIRECTION), external_field=tuple(0.5 * DIRECTION)
    )

    def density(s):
        return np.exp((strength * s**2 + 0.5 * s) / temperature)

    grid = np.linspace(-1, 1, 200_001)
    cumulative = np.cumsum(density(grid))
    rng = np.random.default_rng(22)
    before = np.interp(rng.random(512 * 512), cumulative / cumulative[-1], grid)
    transverse = np.cross(DIRECTION, reference.random_spins(rng, 512 * 512))
    transverse *= (np.sqrt(1 - before**2) / np.linalg.norm(transverse, axis=-1))[:, None]
    sampler = Sampler(model, 512, (22,), start=(before[:, None] * DIRECTION + transverse).reshape(512, 512, 3))
    if move == "heat bath":
        sampler.heat_bath(np.array([temperature]))
    else:
        sampler.metropolis(np.array([temperature]), adapt=False)
    after = along(sampler.spins, DIRECTION).ravel()
    assert np.mean(np.abs(after - before)) > 0.02
    assert chi_square(after, density) < CHI_SQUARE_BOUND
    bins = 8
    edges = np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1])
    flow = np.zeros((bins, bins))
    np.add.at(flow, (np.digitize(before, edges), np.digitize(after, edges)), 1)
    upper = np.triu_indices(bins, 1)
    forward, backward = flow[upper], flow.T[upper]
    assert (
        np.sum((forward - backward) ** 2 / np.maximum(forward + backward, 1)) < 56.9
    )  # 28 degrees of freedom, p = 0.001


def test_reflection_is_its_own_inverse():
    """Over-relaxation conserves the energy and is its own inverse, and so satisfies detailed balance."""
    model = Hamiltonian(exchange=0.0, external_field=tuple(DIRECTION))
    once, twice, never = (Sampler(model, 64, seed=(23,)) for _ in range(3))
    for sampler, reflections in ((once, 1), (twice, 2), (never, 0)):
        sampler.heat_bath(np.ones(1), reflections)
    assert np.allclose(twice.spins, never.spins, atol=1e-5)
    assert np.mean(np.abs(once.spins - never.spins)) > 0.1
    assert np.allclose(along(once.spins, DIRECTION), along(never.spins, DIRECTION), atol=1e-5)
