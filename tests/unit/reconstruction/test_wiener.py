"""Wiener filters against dense covariances, and the symmetry of isotropic spectra."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.metrics import mse
from rayspin.physics import Degradation
from rayspin.reconstruction import Wiener, WienerEM, reconstruct, reconstruct_apart, spectrum
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import Problem, unit
from rayspin.reconstruction.spectrum import Isotropy
from tests.support import reference

ROWS, COLUMNS, SCALE = 8, 12, 4


def correlated_fields():
    """Random fields whose sites and components are correlated, (30, ROWS, COLUMNS, 3)."""
    fields = reference.random_spins(np.random.default_rng(1), 30, ROWS, COLUMNS)
    return (fields + np.roll(fields, 1, axis=1) + np.roll(fields, 2, axis=2))[..., [1, 2, 0]] + 0.5 * fields


def regression(fields, coarse, degradation):
    """Return the fine values of linear regression on all translations of fields (N, ROWS, COLUMNS, C)."""
    components = fields.shape[-1]
    moved = [np.roll(fields, shift, axis=(1, 2)) for shift in np.ndindex(ROWS, COLUMNS)]
    samples = np.concatenate(moved).reshape(-1, ROWS * COLUMNS * components)
    covariance = samples.T @ samples / len(samples)
    matrices = degradation.matrix(ROWS, SCALE), degradation.matrix(COLUMNS, SCALE)
    degrade = np.kron(np.kron(*matrices), np.eye(components))
    weights = covariance @ degrade.T @ np.linalg.inv(degrade @ covariance @ degrade.T)
    return (weights @ coarse.ravel()).reshape(ROWS, COLUMNS, components)


@pytest.mark.parametrize("degradation", [Degradation(), Degradation(sigma=0.6, sampling="average")])
@pytest.mark.parametrize("by_component", [False, True])
def test_the_filter_is_the_regression_on_all_translations_of_the_fields(degradation, by_component):
    fields = correlated_fields()
    coarse = 0.3 * np.random.default_rng(2).normal(size=(ROWS // SCALE, COLUMNS // SCALE, 3)).clip(-1, 1)
    parts = [slice(0, 1), slice(1, 2), slice(2, 3)] if by_component else [slice(0, 3)]
    expected = np.concatenate([regression(fields[..., c], coarse[..., c], degradation) for c in parts], axis=-1)
    method = Wiener(by_component=by_component)
    found = reconstruct(coarse, SCALE, method, degradation=degradation, spectrum=spectrum(fields)).spins
    np.testing.assert_allclose(found, np.moveaxis(unit(np.moveaxis(expected, -1, 0)), 0, -1), atol=2e-3)


@pytest.mark.parametrize("by_component", [False, True])
def test_fields_apart_are_filtered_with_the_options_of_the_method(by_component):
    fields = correlated_fields()
    coarse, method = Degradation().apply(fields, SCALE), Wiener(by_component=by_component)
    known = {"spectrum": spectrum(fields), "any_length": True}
    together = reconstruct(coarse, SCALE, method, **known).spins
    np.testing.assert_allclose(reconstruct_apart(coarse, SCALE, method, **known).spins, together, atol=1e-6)


def test_components_that_are_learned_by_themselves_do_not_depend_on_each_other(labyrinths):
    coarse = np.moveaxis(Degradation().apply(labyrinths, 8), -1, 1)[:, :, None]
    operator, method = Operator(Degradation(), (64, 64), 8), WienerEM(rounds=20, by_component=True)
    shuffled = coarse.copy()
    shuffled[:, 2] = shuffled[::-1, 2]
    own, other = (method.learn(Problem(spins, operator))[0] for spins in (coarse, shuffled))
    assert not own[..., ~np.eye(3, dtype=bool)].any()
    np.testing.assert_allclose(other, own, atol=1e-3 * abs(own).max())
    joint = [WienerEM(rounds=20).learn(Problem(spins, operator))[0] for spins in (coarse, shuffled)]
    assert abs(joint[1] - joint[0]).max() > 0.01 * abs(joint[0]).max()


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
