"""What each method recovers: spirals exactly, annealed fields with the accuracy of what it knows."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.metrics import mse
from rayspin.physics import Degradation
from rayspin.reconstruction import METHODS, Projections, reconstruct, spectrum


def _spiral(rows, columns, turns_y, turns_x):
    """Unit spins that turn in the plane, with one wave in each component, (rows, columns, 3)."""
    y, x = np.mgrid[:rows, :columns]
    angle = 2 * np.pi * (turns_y * y / rows + turns_x * x / columns)
    return np.stack([0.8 * np.cos(angle), 0.8 * np.sin(angle), np.full(angle.shape, 0.6)], axis=-1)


@pytest.mark.parametrize("method", ["fourier", "projections"])
@pytest.mark.parametrize("degradation", [Degradation(), Degradation(sigma=1.5, sampling="average", coarse_sigma=0.4)])
@pytest.mark.parametrize(("scale", "turns"), [(2, (7, -11)), (4, (3, -5)), (8, (1, 2))])
def test_spirals_below_the_coarse_nyquist_frequency_are_recovered(method, degradation, scale, turns):
    fine = _spiral(32, 48, *turns)
    spins = reconstruct(degradation.apply(fine, scale), scale, method, degradation=degradation).spins
    assert spins.shape == fine.shape
    assert spins.dtype == np.float32
    np.testing.assert_allclose(spins, fine, atol=2e-4)


@pytest.mark.filterwarnings("ignore::rayspin.reconstruction.AssumptionWarning")  # such data contradict "map"
@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"map-fit"}))  # which fits strengths to nothing, slowly
def test_the_result_is_of_unit_length_even_where_the_data_say_nothing(method, labyrinths):
    further = {"map": {"hamiltonian": "labyrinth"}, "wiener": {"spectrum": spectrum(labyrinths[:, :32])}}
    spins = reconstruct(np.zeros((2, 4, 8, 3)), 8, method, **further.get(method, {})).spins
    assert spins.shape == (2, 32, 64, 3)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=-1), 1, atol=1e-5)


def test_projections_agree_with_the_coarse_spins_and_leave_the_truth_alone(labyrinths):
    coarse = Degradation().apply(labyrinths, 4)
    errors = [
        np.abs(Degradation().apply(reconstruct(coarse, 4, method).spins, 4) - coarse).max()
        for method in ("fourier", "projections")
    ]
    assert errors[1] < min(1e-3, errors[0] / 10)
    kept = reconstruct(coarse, 4, Projections(iterations=5), start=labyrinths).spins
    np.testing.assert_allclose(kept, labyrinths, atol=1e-5)


def _errors(fine, hamiltonian, scale):
    coarse = Degradation().apply(fine, scale)
    return {
        method: mse(reconstruct(coarse, scale, method, hamiltonian=hamiltonian).spins, fine).mean()
        for method in ("fourier", "wiener-em", "projections", "map")
    }


# Bounds are about three times the errors measured on 128 x 128 sites, twelve fields.
@pytest.mark.parametrize(
    ("scale", "fourier", "em", "ap", "posterior"), [(4, 2e-4, 1e-4, 6e-6, 2e-7), (8, 2e-2, 3e-3, 6e-3, 4e-5)]
)
def test_labyrinths_are_the_better_known_the_more_a_method_knows(labyrinths, scale, fourier, em, ap, posterior):
    errors = _errors(labyrinths, "labyrinth", scale)
    assert errors["fourier"] < fourier
    assert errors["wiener-em"] < min(em, errors["fourier"])
    assert errors["projections"] < min(ap, errors["fourier"] / 2)
    assert errors["map"] < min(posterior, errors["projections"] / 10)


@pytest.mark.parametrize(("scale", "fourier", "ap", "posterior"), [(4, 2e-5, 5e-7, 5e-11), (8, 2e-3, 8e-5, 4e-9)])
def test_domains_are_the_better_known_the_more_a_method_knows(domains, scale, fourier, ap, posterior):
    errors = _errors(domains, "domain", scale)
    assert errors["fourier"] < fourier
    assert errors["projections"] < min(ap, errors["fourier"] / 10)
    assert errors["map"] < min(posterior, errors["projections"] / 100)
