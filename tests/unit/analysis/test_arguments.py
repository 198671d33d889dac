"""What the functions of `rayspin.analysis` are given: lists, one field, presets, plain seeds; the rest is one line."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.analysis.estimation import evaluate_estimation, uniform_field
from rayspin.analysis.published import published_resolution
from rayspin.analysis.recursive import iterate, recurse
from rayspin.analysis.recursive_steps import (
    anisotropy,
    external_field,
    landau_lifshitz_gilbert,
    langevin,
    thermal,
)
from rayspin.analysis.resolution import BASELINES, by_baseline, by_network, evaluate_resolution, normalized
from rayspin.errors import InputError
from rayspin.models import EffectiveFieldNetConfig, SuperResolutionNetConfig
from rayspin.physics import LABYRINTH, Degradation
from tests.support import reference

NETWORK = EffectiveFieldNetConfig(encoder_filters=(2,), decoder_filters=(2,)).build()
SPINS = reference.random_spins(np.random.default_rng(1), 2, 8, 8).astype(np.float32)


def test_an_estimation_of_one_field_of_a_preset_has_one_row():
    rows = evaluate_estimation(NETWORK, SPINS[0], "labyrinth").rows()
    assert rows == evaluate_estimation(NETWORK, SPINS[:1], LABYRINTH).rows()
    np.testing.assert_allclose(uniform_field(SPINS[0].tolist(), "labyrinth"), 4 * SPINS[0], atol=1e-6)


def test_published_figures_are_found_by_a_preset_s_name():
    assert published_resolution("labyrinth", 4) == published_resolution(LABYRINTH, 4) != {}


def test_seeds_and_vectors_may_be_numbers_and_arrays():
    for make in (lambda seed: langevin(0.5, 1.0, 0.1, seed), lambda seed: thermal(0.5, seed)):
        np.testing.assert_array_equal(make(3)(SPINS, SPINS, 1), make((3,))(SPINS, SPINS, 1))
        np.testing.assert_array_equal(make(np.array([3, 1]))(SPINS, SPINS, 1), make((3, 1))(SPINS, SPINS, 1))
    np.testing.assert_allclose(
        external_field(np.array([0, 0, 1]))(SPINS, SPINS, 1), SPINS + np.array([0, 0, 1]), atol=1e-6
    )
    np.testing.assert_allclose(
        anisotropy(1, [0, 0, 2])(SPINS, SPINS, 1), SPINS + 2 * SPINS[..., 2:] * [0, 0, 1], atol=1e-6
    )


def baselines():
    return {name: by_baseline(name, Degradation()) for name in BASELINES}


@pytest.mark.parametrize("name", BASELINES)
def test_interpolations_take_lists(name):
    method = by_baseline(name, Degradation())
    np.testing.assert_allclose(method(SPINS.tolist(), np.int64(4)), method(SPINS, 4), atol=1e-5)


def test_a_table_of_methods_takes_lists_and_lengths_of_zero():
    network = SuperResolutionNetConfig(scale=4, expanding_filters=(2,)).build()
    coarse = np.zeros((1, 2, 2, 3), int)
    fine = np.zeros((1, 8, 8, 3), int)
    fine[..., 2] = 1
    rows = evaluate_resolution({**baselines(), "network": by_network(network)}, fine, coarse, 4)
    assert rows["bilinear"].normalized.mse.tolist() == pytest.approx([1 / 3])
    assert not normalized([[[0, 0, 0]]]).any()
    assert normalized([[[0, 3, 4]]]).tolist() == [[pytest.approx([0, 0.6, 0.8])]]


BAD = {
    "field as a number": (lambda: external_field(0.05), "external_field: 0.05 is invalid; give three finite"),
    "field of two components": (lambda: external_field((0.0, 0.05)), "external_field: .* is invalid"),
    "field that is NaN": (lambda: external_field((0.0, 0.0, np.nan)), "external_field: .* is invalid"),
    "axis of length zero": (lambda: anisotropy(0.1, (0.0, 0.0, 0.0)), "axis: .* has no direction"),
    "strength in words": (lambda: anisotropy("strong"), "strength: 'strong' is invalid"),
    "seed of no integers": (lambda: langevin(0.1, 1.0, 0.1, 0.5), "seed: 0.5 is not a valid address"),
    "negative temperature": (lambda: langevin(-0.1, 1.0, 0.1, 1), "temperature: -0.1 is invalid"),
    "noise for no time": (lambda: langevin(0.1, 0.0, 0.1, 1), "time: 0.0 is invalid"),
    "damping that feeds": (lambda: langevin(0.1, 1.0, -0.1, 1), "damping: -0.1 is invalid"),
    "temperature of zero": (lambda: thermal(0.0, 1), "temperature: 0.0 is invalid"),
    "temperature that is NaN": (lambda: thermal(np.nan, 1), "temperature: nan is invalid"),
    "endless time": (lambda: landau_lifshitz_gilbert(np.inf, 0.1), "time: inf is invalid"),
    "half an iteration": (lambda: recurse(SPINS, NETWORK, 1.5, hamiltonian=LABYRINTH), "iterations: 1.5 is invalid"),
    "less than no iterations": (lambda: list(iterate(SPINS, NETWORK, -1)), "iterations: -1 is invalid"),
    "no spins": (lambda: recurse(SPINS[..., 0], NETWORK, 1, hamiltonian=LABYRINTH), "spins: have shape"),
    "misspelt preset": (lambda: evaluate_estimation(NETWORK, SPINS, "labirynth"), "hamiltonian: preset: unknown name"),
    "scale of zero": (lambda: by_baseline("fourier", Degradation())(SPINS, 0), "scale: 0 is invalid"),
    "coarse vector": (lambda: by_baseline("bicubic", Degradation())([0.0, 0.0, 1.0], 4), r"coarse: have shape \(3,\)"),
    "fine spins of another size": (
        lambda: evaluate_resolution(baselines(), SPINS, SPINS, 4),
        r"estimate: has shape \(2, 32, 32, 3\), but the truth has \(2, 8, 8, 3\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_has_no_one_meaning_is_named_in_one_line(case):
    call, message = BAD[case]
    with pytest.raises(InputError, match=f"^{message}") as error:
        call()
    assert "\n" not in str(error.value)
