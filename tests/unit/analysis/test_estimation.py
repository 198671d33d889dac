"""The figures of field estimation, on an estimator whose errors are known, and on the exact one."""

import numpy as np
import pytest
import torch
from torch import nn

from rayspin.analysis.estimation import evaluate_estimation, uniform_field
from rayspin.models import EffectiveFieldNetConfig, FieldNet
from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian, effective_field, energy
from rayspin.training import ExactField

HAMILTONIAN = Hamiltonian(dmi=0.3, anisotropy=0.1, external_field=(0.0, 0.1, 0.2))


class _Estimator(FieldNet):
    """The exact field of the Hamiltonian, times a factor."""

    def __init__(self, factor):
        super().__init__(EffectiveFieldNetConfig())
        self.factor = nn.Parameter(torch.tensor(factor))
        self.exact = ExactField(HAMILTONIAN, (16, 16))

    def layers(self, spins):
        return self.factor * self.exact(spins)


@pytest.fixture
def spins():
    vectors = np.random.default_rng(1).normal(size=(5, 16, 16, 3)) + 1.0
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def test_an_exact_estimator_has_no_error(spins):
    figures = evaluate_estimation(_Estimator(1.0), spins, HAMILTONIAN)
    assert figures.mse_NC.shape == (5, 3)
    assert figures.mse.max() < 1e-11
    assert figures.angle.max() < 1e-5
    assert figures.energy_exact == pytest.approx(energy(spins, HAMILTONIAN), rel=1e-5)
    assert figures.energy_agreement == pytest.approx(np.ones(5), abs=1e-6)


def test_a_field_that_is_too_long_is_off_in_energy_but_not_in_angle(spins):
    figures = evaluate_estimation(_Estimator(1.02), spins, HAMILTONIAN)
    exact = evaluate_estimation(_Estimator(1.0), spins, HAMILTONIAN)
    # Only the field is scaled: the external part of F + H is not.
    external = -(spins * np.array(HAMILTONIAN.external_field)).sum(-1).mean((1, 2)) / 2
    expected = 1.02 * (exact.energy_exact - external) + external
    assert figures.energy_estimated == pytest.approx(expected, rel=1e-5)
    agreement = 1 - np.abs((expected - exact.energy_exact) / exact.energy_exact)
    assert figures.energy_agreement == pytest.approx(agreement, rel=1e-5)
    assert figures.angle.max() < 1e-5
    assert (figures.mse > 1e-4).all()


def test_rows_are_the_fields_one_by_one(spins):
    figures = evaluate_estimation(_Estimator(1.02), spins, HAMILTONIAN)
    rows = figures.rows()
    assert [row["mse_y"] for row in rows] == figures.mse_NC[:, 1].tolist()
    assert [row["energy_agreement"] for row in rows] == figures.energy_agreement.tolist()


@pytest.mark.parametrize("hamiltonian", [LABYRINTH, HAMILTONIAN, DOMAIN])
def test_the_uniform_part_is_the_field_of_uniform_spins(hamiltonian):
    for spin in ((0.0, 0.0, 1.0), (0.6, 0.0, -0.8)):
        uniform = np.broadcast_to(np.array(spin, np.float32), (1, 16, 16, 3)).copy()
        expected = effective_field(uniform, hamiltonian)
        np.testing.assert_allclose(uniform_field(uniform, hamiltonian), expected, atol=1e-5)


def test_the_uniform_part_of_a_labyrinth_is_four_bonds_of_exchange(spins):
    np.testing.assert_allclose(uniform_field(spins, LABYRINTH), 4 * spins, atol=1e-5)
