"""The figures of field estimation, on an estimator whose errors are known, and on the exact one."""

import numpy as np
import pytest
import torch
from torch import nn

from rayspin.analysis.estimation import (
    best_isotropic,
    compare,
    evaluate_estimation,
    evaluate_isotropic,
    uniform_field,
)
from rayspin.models import EffectiveFieldNetConfig, ExactField, FieldNet
from rayspin.physics import DOMAIN, LABYRINTH, Hamiltonian, effective_field, energy
from tests.support import reference

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


def test_the_field_of_a_spiral_is_isotropic_so_that_one_number_knows_it():
    """F = (2 + 2 cos q + 2 D sin q) S for a cycloid of wave vector q and the handedness of the DMI."""
    spins = np.stack([reference.cycloid(32, turns, direction=-1).astype(np.float32) for turns in (1, 2)])
    q = 2 * np.pi * np.array([1, 2]) / 32
    expected = 2 + 2 * np.cos(q) + 2 * 0.3 * np.sin(q)
    best = best_isotropic(spins, LABYRINTH)
    assert best == pytest.approx(expected, rel=1e-6)
    figures = evaluate_isotropic(best[0], spins, LABYRINTH)
    # The squared error of each of the three components is a third of that of the length.
    assert figures.mse == pytest.approx((best[0] - expected) ** 2 / 3, abs=1e-9)
    assert figures.deviation == pytest.approx((expected - 4) ** 2 / 3, rel=1e-4)
    assert figures.relative_mse[1] == pytest.approx(((best[0] - expected[1]) / (expected[1] - 4)) ** 2, rel=1e-3)
    assert figures.energy_estimated == pytest.approx([-best[0] / 2] * 2, rel=1e-6)
    assert figures.angle.max() < 1e-3


def test_the_best_number_has_the_least_error(spins):
    best = best_isotropic(spins, HAMILTONIAN)
    for n in range(2):
        errors = [evaluate_isotropic(best[n] + off, spins[n], HAMILTONIAN).mse[0] for off in (-0.01, 0.0, 0.01)]
        assert errors[1] < min(errors[0], errors[2])
    pooled = [evaluate_isotropic(best.mean() + off, spins, HAMILTONIAN).mse.mean() for off in (-0.01, 0.0, 0.01)]
    assert pooled[1] < min(pooled[0], pooled[2])


def test_the_correlation_is_that_of_the_deviations_and_does_not_depend_on_c_of_the_trivial_estimate(spins):
    deviation = effective_field(spins, LABYRINTH) - 4 * spins
    expected = [np.corrcoef(f.ravel(), s.ravel())[0, 1] for f, s in zip(deviation, spins)]
    for c in (4.1, 5.0):
        assert evaluate_isotropic(c, spins, LABYRINTH).correlation == pytest.approx(expected, abs=1e-3)
    assert compare(4 * spins + 0.5 * deviation, spins, LABYRINTH).correlation == pytest.approx([1] * 5, abs=1e-6)
    assert compare(4 * spins - deviation, spins, LABYRINTH).correlation == pytest.approx([-1] * 5, abs=1e-6)
    # A field without a deviation has no correlation.
    assert compare(4 * spins, spins, LABYRINTH).correlation.tolist() == pytest.approx([0] * 5, abs=1e-2)
    assert compare(4 * spins, spins, LABYRINTH).relative_mse == pytest.approx([1] * 5, rel=1e-4)
