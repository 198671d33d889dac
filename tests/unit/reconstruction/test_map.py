"""MAP against dense linear algebra, finite differences, and the conditions of a minimum."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.metrics import mse
from rayspin.physics import LABYRINTH, Degradation, Hamiltonian, effective_field, energy
from rayspin.reconstruction import MAP, reconstruct
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.posterior import Posterior
from rayspin.reconstruction.preconditioner import Preconditioner
from rayspin.reconstruction.problem import Problem

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


SHIFTS = [((0, 0),), ((1, 0), (2, 3), (0, 1))]


def _dense_observations(degradation, shifts):
    """D of one component of several observations, (observations times coarse pixels, fine sites)."""
    sites = np.eye(ROWS * COLUMNS).reshape(-1, ROWS, COLUMNS)
    moved = [np.roll(sites, (-y, -x), axis=(1, 2)).reshape(len(sites), -1).T for y, x in shifts]
    return np.concatenate([_dense_degradation(degradation) @ roll for roll in moved])


@pytest.mark.parametrize("shifts", SHIFTS)
@pytest.mark.parametrize("degradation", [Degradation(), Degradation(sampling="average", coarse_sigma=0.5)])
def test_the_preconditioner_solves_its_equation(degradation, shifts):
    dense = _dense_observations(degradation, shifts)
    laplacian = np.kron(_laplacian(ROWS), np.eye(COLUMNS)) + np.kron(np.eye(ROWS), _laplacian(COLUMNS))
    matrix = 1.5 * (laplacian + 0.2 * np.eye(ROWS * COLUMNS)) + 50 * dense.T @ dense
    right = np.random.default_rng(1).normal(size=(3, ROWS, COLUMNS))
    expected = np.linalg.solve(matrix, right.reshape(3, -1).T).T.reshape(right.shape)
    precondition = Preconditioner(Operator(degradation, (ROWS, COLUMNS), SCALE, shifts), 1.5, 50)
    np.testing.assert_allclose(precondition(right.astype(np.float32)), expected, atol=1e-5)


def test_components_that_were_not_measured_have_the_stiffness_alone():
    operator = Operator(Degradation(), (ROWS, COLUMNS), SCALE)
    right = np.random.default_rng(1).normal(size=(3, ROWS, COLUMNS)).astype(np.float32)
    found = Preconditioner(operator, 1.5, 50, slice(2, 3))(right)
    np.testing.assert_allclose(found[2], Preconditioner(operator, 1.5, 50)(right)[2], atol=1e-6)
    laplacian = np.kron(_laplacian(ROWS), np.eye(COLUMNS)) + np.kron(np.eye(ROWS), _laplacian(COLUMNS))
    matrix = 1.5 * (laplacian + 0.2 * np.eye(ROWS * COLUMNS))
    np.testing.assert_allclose(matrix @ found[:2].reshape(2, -1).T, right[:2].reshape(2, -1).T, atol=1e-4)


@pytest.mark.parametrize("first", [0, 2])
def test_the_gradient_is_the_slope_of_the_objective(first):
    rng = np.random.default_rng(2)
    spins, direction = rng.normal(size=(2, ROWS, COLUMNS, 3))
    coarse = rng.normal(size=(3 - first, 3, ROWS // SCALE, COLUMNS // SCALE))
    dense = _dense_observations(Degradation(), SHIFTS[1])
    known = rng.random((3, ROWS // SCALE, COLUMNS // SCALE)) > 0.3

    def objective(step):
        moved = spins + step * direction
        misfit = dense @ moved.reshape(-1, 3)[:, first:] - coarse.reshape(3 - first, -1).T
        return ROWS * COLUMNS * energy(moved, EVERYTHING) + 7 / 2 * np.sum(misfit[known.ravel()] ** 2)

    operator = Operator(Degradation(), (ROWS, COLUMNS), SCALE, SHIFTS[1])
    problem = Problem(coarse[None].astype(np.float32), operator, known_NKYX=known[None])
    posterior = Posterior(EVERYTHING, problem, 7)
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
