"""Conjugate gradients on spins with random couplings, whose energy has many minima."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.reconstruction.descent import minimize
from tests.support import reference

SIDE = 4


class RandomCouplings:
    """The energy S A S / 2 - b S with Gaussian A and b."""

    def __init__(self, rng):
        sites = 3 * SIDE * SIDE
        matrix = rng.normal(size=(sites, sites))
        self.matrix, self.field = (matrix + matrix.T) / 2, rng.normal(size=sites)

    def gradient(self, spins_CYX):
        return (self.matrix @ spins_CYX.ravel() - self.field).reshape(spins_CYX.shape)

    def value(self, spins_CYX):
        return spins_CYX.ravel() @ (self.matrix @ spins_CYX.ravel() / 2 - self.field)


@pytest.mark.parametrize("seed", range(20))
def test_the_descent_ends_in_a_minimum_below_its_start(seed):
    rng = np.random.default_rng(seed)
    couplings = RandomCouplings(rng)
    start = np.moveaxis(reference.random_spins(rng, SIDE, SIDE), -1, 0)
    stiffness = rng.uniform(0.5, 20, size=start.shape)
    spins = minimize(couplings, lambda maps: maps / stiffness, start, 1000, 1e-6)
    gradient = couplings.gradient(spins)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=0), 1, atol=1e-6)
    assert np.linalg.norm(np.cross(spins, gradient, axis=0), axis=0).max() < 1e-6
    assert couplings.value(spins) < couplings.value(start)
    # In a minimum the energy rises in every direction, so small random moves can't lower it.
    for _ in range(20):
        moved = spins + 0.01 * rng.normal(size=spins.shape)
        assert couplings.value(moved / np.linalg.norm(moved, axis=0)) > couplings.value(spins)


@pytest.mark.parametrize("seed", range(8))
def test_no_iteration_raises_the_energy(seed):
    rng = np.random.default_rng(seed)
    couplings = RandomCouplings(rng)
    # Stiff terms, as those of the coarse data are: a whole step along the sphere often overshoots.
    stiff = rng.normal(size=(couplings.field.size, 4))
    couplings.matrix += 300 * stiff @ stiff.T
    start = np.moveaxis(reference.random_spins(rng, SIDE, SIDE), -1, 0)
    inverse = np.linalg.inv(300 * stiff @ stiff.T + 5 * np.eye(couplings.field.size))

    def precondition(maps):
        return (inverse @ maps.ravel()).reshape(maps.shape)

    values = [
        couplings.value(minimize(couplings, precondition, start, iterations, 1e-6)) for iterations in (*range(40), 400)
    ]
    assert np.all(np.diff(values) <= 1e-6 * np.abs(values[:-1]))
    assert values[-1] < values[0] / 2
