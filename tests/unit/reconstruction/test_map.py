"""MAP against dense linear algebra, finite differences, and the conditions of a minimum."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.metrics import mse
from rayspin.physics import LABYRINTH, Degradation, Hamiltonian, effective_field, energy
from rayspin.reconstruction import MAP, reconstruct
from rayspin.reconstruction.posterior import Posterior, Preconditioner
from rayspin.reconstruction.problem import Operator

ROWS, COLUMNS, SCALE = 8, 12, 4
EVERYTHING = Hamiltonian(
    dmi=0.2, dipole=0.05, anisotropy=0.3, anisotropy_axis=(1.0, 0.0, 1.0), external_field=(0.1, -0.2, 0.3)
)


def _dense_degradation(degradation):
    """D of one component of the small lattice, (coarse pixels, fine sites)."""
    return np.kron(degradation.matrix(ROWS, SCALE), degradation.matrix(COLUMNS, SCALE))


def _laplacian(sites):
    ring = np.eye(sites)
    return 2 * ring - np.roll(ring, 1, axis=0) - np.roll(ring, -1, axis=0)


@pytest.mark.parametrize("degradation", [Degradation(), Degradation(sampling="average", coarse_sigma=0.5)])
def test_the_preconditioner_solves_its_equation(degradation):
    dense = _dense_degradation(degradation)
    laplacian = np.kron(_laplacian(ROWS), np.eye(COLUMNS)) + np.kron(np.eye(ROWS), _laplacian(COLUMNS))
    matrix = 1.5 * (laplacian + 0.2 * np.eye(ROWS * COLUMNS)) + 50 * dense.T @ dense
    right = np.random.default_rng(1).normal(size=(3, ROWS, COLUMNS))
    expected = np.linalg.solve(matrix, right.reshape(3, -1).T).T.reshape(right.shape)
    precondition = Preconditioner(Operator(degradation, (ROWS, COLUMNS), SCALE), 1.5, 50)
    np.testing.assert_allclose(precondition(right.astype(np.float32)), expected, atol=1e-5)


def test_the_gradient_is_the_slope_of_the_objective():
    rng = np.random.default_rng(2)
    spins, direction = rng.normal(size=(2, ROWS, COLUMNS, 3))
    coarse = rng.normal(size=(3, ROWS // SCALE, COLUMNS // SCALE))
    dense = _dense_degradation(Degradation())

    def objective(step):
        moved = spins + step * direction
        misfit = dense @ moved.reshape(-1, 3) - coarse.reshape(3, -1).T
        return ROWS * COLUMNS * energy(moved, EVERYTHING) + 7 / 2 * np.sum(misfit**2)

    posterior = Posterior(EVERYTHING, Operator(Degradation(), (ROWS, COLUMNS), SCALE), coarse.astype(np.float32), 7)
    gradient = posterior.gradient(np.moveaxis(spins, -1, 0).astype(np.float32))
    slope = (objective(0.5) - objective(-0.5)) / 1.0  # exact for a quadratic function
    assert np.sum(np.moveaxis(gradient, 0, -1) * direction) == pytest.approx(slope, rel=1e-4)


def test_at_the_result_no_spin_feels_a_torque(labyrinths):
    coarse = Degradation().apply(labyrinths[:1], 8)
    hamiltonian = Hamiltonian(dmi=0.3, anisotropy=0.05, external_field=(0.0, 0.01, 0.02))
    method = MAP(weight=30.0, tolerance=1e-3)
    spins = reconstruct(coarse, 8, method, hamiltonian=hamiltonian).spins
    matrix = Degradation().matrix(64, 8)
    misfit = np.einsum("yY,xX,nYXc->nyxc", matrix, matrix, spins) - coarse
    pull = effective_field(spins, hamiltonian) - 30 * np.einsum("yY,xX,nyxc->nYXc", matrix, matrix, misfit)
    assert np.linalg.norm(np.cross(spins, pull), axis=-1).max() < 1.1e-3


def test_the_unit_of_energy_does_not_matter(labyrinths):
    coarse = Degradation().apply(labyrinths[:1], 8)
    stronger = Hamiltonian(exchange=16.0, dmi=4.8)
    results = [reconstruct(coarse, 8, hamiltonian=hamiltonian).spins for hamiltonian in (LABYRINTH, stronger)]
    assert mse(*results).max() < 1e-7


def test_fields_do_not_depend_on_the_rest_of_the_batch(labyrinths):
    coarse = Degradation().apply(labyrinths, 8)
    together = reconstruct(coarse, 8, hamiltonian="labyrinth").spins
    alone = reconstruct(coarse[1], 8, hamiltonian="labyrinth").spins
    np.testing.assert_allclose(together[1], alone, atol=1e-5)
