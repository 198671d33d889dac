"""Wiener filters against dense covariances, and the symmetry of isotropic spectra."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.metrics import mse
from rayspin.physics import Degradation
from rayspin.reconstruction import WienerEM, reconstruct, spectrum
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import Problem, unit
from rayspin.reconstruction.spectrum import Isotropy
from tests.support import reference

ROWS, COLUMNS, SCALE = 8, 12, 4


@pytest.mark.parametrize("degradation", [Degradation(), Degradation(sigma=0.6, sampling="average")])
def test_the_filter_is_the_regression_on_all_translations_of_the_fields(degradation):
    rng = np.random.default_rng(1)
    fields = reference.random_spins(rng, 30, ROWS, COLUMNS)
    fields = (fields + np.roll(fields, 1, axis=1) + np.roll(fields, 2, axis=2))[..., [1, 2, 0]] + 0.5 * fields
    moved = [np.roll(fields, shift, axis=(1, 2)) for shift in np.ndindex(ROWS, COLUMNS)]
    samples = np.concatenate(moved).reshape(-1, ROWS * COLUMNS * 3)
    covariance = samples.T @ samples / len(samples)
    matrices = degradation.matrix(ROWS, SCALE), degradation.matrix(COLUMNS, SCALE)
    degrade = np.kron(np.kron(*matrices), np.eye(3))
    regression = covariance @ degrade.T @ np.linalg.inv(degrade @ covariance @ degrade.T)
    coarse = 0.3 * rng.normal(size=(ROWS // SCALE, COLUMNS // SCALE, 3)).clip(-1, 1)
    expected = np.moveaxis((regression @ coarse.ravel()).reshape(ROWS, COLUMNS, 3), -1, 0)
    found = reconstruct(coarse, SCALE, "wiener", degradation=degradation, spectrum=spectrum(fields)).spins
    np.testing.assert_allclose(found, np.moveaxis(unit(expected), 0, -1), atol=2e-3)


def test_an_isotropic_spectrum_has_the_handedness_of_its_fields_in_every_direction():
    side, turns = 32, 3
    y, x = np.mgrid[:side, :side] * 2 * np.pi * turns / side
    zero = np.zeros_like(x)
    along_x = np.stack([np.sin(x), zero, np.cos(x)], axis=-1)
    along_y = np.stack([zero, np.sin(y), np.cos(y)], axis=-1)
    isotropy = Isotropy((side, side))
    spread = isotropy.spread(isotropy.table(spectrum(along_x)))
    expected = spectrum(along_y)[turns, 0]
    found = spread[turns, 0]
    np.testing.assert_allclose(found / np.trace(found), expected / np.trace(expected), atol=1e-4)


def test_the_average_over_directions_keeps_the_power_of_the_uniform_wave_and_of_all_waves():
    fields = reference.random_spins(np.random.default_rng(3), 2, 16, 16)
    isotropy, measured = Isotropy((16, 16)), spectrum(fields)
    spread = isotropy.spread(isotropy.table(measured))
    for part in (np.s_[:1, :1], np.s_[:, :]):
        power = [np.trace(found[part].sum(axis=(0, 1))).real for found in (measured, spread)]
        assert power[1] == pytest.approx(power[0], rel=0.02)


def test_a_common_turn_of_lattice_and_spins_keeps_the_table():
    fields = reference.random_spins(np.random.default_rng(2), 2, 16, 16)
    turned = np.swapaxes(fields, 1, 2)[:, :, ::-1][..., [1, 0, 2]] * [-1, 1, 1]
    isotropy = Isotropy((16, 16))
    tables = [isotropy.table(spectrum(spins)) for spins in (fields, turned)]
    # The highest waves of an even side have no direction of their own, so a turn moves them.
    inside = isotropy.wave_numbers < np.pi * 0.9
    np.testing.assert_allclose(tables[0][inside], tables[1][inside], rtol=1e-3, atol=1e-2)


def test_without_a_degradation_the_learned_spectrum_is_the_measured_one(labyrinths):
    fields = labyrinths[:, :32]
    operator = Operator(Degradation(sigma=0.0), (32, 64), 1)
    learned, _ = WienerEM(rounds=3).learn(Problem(np.moveaxis(fields, -1, 1)[:, :, None], operator))
    isotropy = Isotropy((32, 64))
    measured = isotropy.spread(isotropy.table(spectrum(fields)))
    np.testing.assert_allclose(learned, measured, atol=1e-3 * np.abs(measured).max())


def test_the_learned_filter_resolves_aliases_of_labyrinths_and_ties_the_components(labyrinths):
    coarse = Degradation().apply(labyrinths, 8)
    error = mse(reconstruct(coarse, 8, "wiener-em").spins, labyrinths).mean()
    assert error < mse(reconstruct(coarse, 8, "fourier").spins, labyrinths).mean() / 4
