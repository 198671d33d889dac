"""Noise: its mean and variance against random vectors, its estimate, and what very noisy data yield."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.metrics import mse
from rayspin.physics import Degradation
from rayspin.physics.corruption import noisy
from rayspin.reconstruction import MAP, Wiener, WienerEM, learned_spectrum, learned_weight, reconstruct, spectrum
from rayspin.reconstruction.noise import amplitude_of, mean_length, white_power


@pytest.mark.parametrize("length", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("amplitude", [0.1, 0.5, 1.0, 3.0])
def test_the_mean_of_noisy_spins_has_the_predicted_length(amplitude, length):
    spins = np.broadcast_to([0.0, 0.6 * length, 0.8 * length], (300, 300, 3))
    mean = noisy(spins, amplitude, seed=(1,)).mean(axis=(0, 1))
    expected = float(mean_length(amplitude, length)) * np.array([0, 0.6, 0.8])
    np.testing.assert_allclose(mean, expected, atol=5 / np.sqrt(3 * 300 * 300))


@pytest.mark.parametrize("amplitude", [1e-3, 0.2, 0.99, 1.0, 1.01, 7.0])
def test_the_amplitude_follows_from_the_mean(amplitude):
    assert amplitude_of(float(mean_length(amplitude))) == pytest.approx(amplitude, rel=1e-6)


def _mixed(coarse, amplitude, seed):
    """Coarse spins with noise that is not normalized."""
    directions = noisy(np.zeros_like(coarse), 1.0, seed)
    return coarse + amplitude * directions


def test_the_power_of_the_weakest_waves_is_the_variance_of_the_noise(domains):
    coarse = Degradation().apply(domains, 4)
    for amplitude in (0.1, 0.5):
        found = white_power(np.moveaxis(_mixed(coarse, amplitude, (2,)), -1, 1)[:, :, None])
        assert found == pytest.approx(amplitude**2 / 3, rel=0.3)


@pytest.mark.parametrize("corrupt", [noisy, _mixed])
@pytest.mark.parametrize("amplitude", [0.2, 1.0])
def test_an_unknown_amplitude_is_estimated_and_told(domains, corrupt, amplitude):
    coarse = corrupt(Degradation().apply(domains, 4), amplitude, (3,))
    result = reconstruct(coarse, 4, "fourier", noise=None)
    assert result.noise == pytest.approx(amplitude, rel=0.2)
    assert reconstruct(coarse, 4, "fourier", noise=amplitude).noise == amplitude


def test_a_wiener_filter_that_knows_the_noise_has_a_smaller_error(labyrinths):
    coarse = _mixed(Degradation().apply(labyrinths, 4), 0.5, (4,))
    errors = {
        (name, noise): mse(
            reconstruct(coarse, 4, method, noise=noise, spectrum=spectrum(labyrinths)).spins, labyrinths
        ).mean()
        for name, method in {"given": Wiener(), "learned": WienerEM(rounds=30)}.items()
        for noise in (1e-4, 0.5, None)
    }
    for name in ("given", "learned"):
        assert errors[name, 0.5] < errors[name, 1e-4] / 2
        assert errors[name, None] < 1.3 * errors[name, 0.5]


@pytest.mark.parametrize("amplitude", [0.3, 1.0])
def test_held_out_pixels_choose_a_weight_near_the_best(labyrinths, amplitude):
    coarse = noisy(Degradation().apply(labyrinths, 4), amplitude, (6,))
    start = reconstruct(coarse, 4, WienerEM(rounds=20), noise=amplitude).spins

    def error(weight):
        method = MAP(weight=weight, iterations=30, tolerance=1e-3)
        found = reconstruct(coarse, 4, method, hamiltonian="labyrinth", noise=amplitude, start=start)
        return mse(found.spins, labyrinths).mean()

    assert error("held-out") < 1.5 * min(map(error, (3.0, 1.0, 0.3, 0.1)))


def test_noise_above_all_waves_is_refused_with_the_mean_spin(labyrinths):
    coarse = noisy(Degradation().apply(labyrinths[:1], 8), 300.0, (7,))
    for noise in (300.0, None):
        with pytest.raises(InputError, match=r"noise: no wave .* exceeds it; give more fields .* mean spin, about \("):
            reconstruct(coarse, 8, "wiener-em", noise=noise)


def test_map_tells_the_noise_where_the_spins_fill_all_waves(labyrinths):
    coarse = noisy(Degradation().apply(labyrinths, 8), 0.2, (8,))
    method = MAP(weight=1.0, start="fourier", iterations=40, tolerance=1e-3)
    assert reconstruct(coarse, 8, method, hamiltonian="labyrinth", noise=None).noise == pytest.approx(0.2, rel=0.3)


def test_a_known_spectrum_gives_the_same_weight_and_is_not_learned_again(labyrinths, monkeypatch):
    coarse = _mixed(Degradation().apply(labyrinths, 4), 0.2, (3,))
    known = {"hamiltonian": "labyrinth", "noise": 0.2}
    learned = learned_spectrum(coarse, 4, "map", **known)
    chosen = learned_weight(coarse, 4, "map", **known)
    assert chosen is not None
    monkeypatch.setattr(WienerEM, "learn", None)
    assert learned_weight(coarse, 4, "map", spectrum=learned, **known) == chosen
