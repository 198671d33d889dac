"""Strengths, blur, gain and offset from coarse spins alone: known values are found, with errors that cover them."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.metrics import mse
from rayspin.physics import DOMAIN, LABYRINTH, Degradation, Hamiltonian
from rayspin.reconstruction import MAP, MAPFit, calibrate, reconstruct
from rayspin.reconstruction.estimation import Assumptions, Parameter, estimate, standard_errors
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import Problem


def test_the_strength_of_the_dmi_is_found_within_its_error(labyrinths):
    coarse = Degradation().apply(labyrinths, 8)
    # The form of the Hamiltonian alone: its strength is not used.
    result = reconstruct(coarse, 8, "map-fit", hamiltonian=Hamiltonian(dmi=0.1))
    assert result.hamiltonian.exchange == 1
    assert abs(result.hamiltonian.dmi - 0.3) < 3 * result.strength_errors["dmi"]
    assert result.strength_errors["dmi"] < 0.003
    known = reconstruct(coarse, 8, "map", hamiltonian=LABYRINTH)
    assert mse(result.spins, labyrinths).mean() < 1.3 * mse(known.spins, labyrinths).mean()


def test_terms_and_unit_are_those_of_the_hamiltonian(domains):
    coarse = Degradation().apply(domains, 8)
    form = Hamiltonian(exchange=16.0, dipole=1.0, anisotropy=1.0)
    result = reconstruct(coarse, 8, "map-fit", hamiltonian=form)
    assert set(result.strength_errors) == {"dipole", "anisotropy"}
    found = result.hamiltonian
    # Fields are quenched to torques of 1e-5, which determine the strengths within about 0.1 %.
    np.testing.assert_allclose([found.exchange, found.dipole, found.anisotropy], [16, 0.48, 3.44], rtol=5e-3)
    # Two errors cover the bias of fields that are not fully quenched.
    errors = result.strength_errors
    assert abs(found.dipole - 0.48) < 2 * errors["dipole"] < 0.004
    assert abs(found.anisotropy - 3.44) < 2 * errors["anisotropy"] < 0.03
    assert errors["dipole"] > 1e-3 * found.dipole
    assert mse(result.spins, domains).mean() < 2e-8


@pytest.mark.parametrize(
    ("method", "hamiltonian", "message"),
    [
        ("map-fit", Hamiltonian(), "terms: the Hamiltonian has none to estimate"),
        ("map-fit", Hamiltonian(exchange=0.0, dmi=0.3), "exchange: 0 leaves the strengths without a unit"),
    ],
)
def test_a_fit_without_terms_or_unit_is_refused(method, hamiltonian, message, labyrinths):
    with pytest.raises(InputError, match=message):
        reconstruct(Degradation().apply(labyrinths[:1], 8), 8, method, hamiltonian=hamiltonian)


def test_a_sandwich_error_is_the_standard_error_of_a_mean():
    # The offset of noisy pixels of spins that are known: its error is that of the mean of the noise.
    noise = np.random.default_rng(5).normal(0, 0.02, (1, 3, 1, 16, 16)).astype(np.float32)
    up = np.broadcast_to(np.array([0, 0, 1], np.float32)[:, None, None, None], noise.shape)
    problem = Problem(
        up + noise, Operator(Degradation(), (128, 128), 8), start_NCYX=np.zeros((1, 3, 128, 128), np.float32)
    )

    class Known:
        def solve(self, problem):
            spins = np.zeros((1, 3, 128, 128), np.float32)
            spins[:, 2] = 1
            return spins

    def write(given, value):
        return Assumptions(given.hamiltonian, given.degradation, given.gain, (0.0, 0.0, value))

    offset = Parameter(lambda given: given.offset[2], write)
    found = estimate(problem, Assumptions(LABYRINTH, Degradation()), [offset], Known(), 5, 1e-6)
    assert found.assumptions.offset[2] == pytest.approx(noise[:, 2].mean(), abs=1e-5)
    assert found.errors[0] == pytest.approx(0.02 / 16, rel=0.5)


@pytest.mark.parametrize(("fields", "blocks"), [(4, 2), (6, 2), (16, 2), (1, 4), (3, 2)])
def test_two_standard_errors_cover_95_percent_however_few_clusters(fields, blocks):
    # The mean of pixels, each the sum of a number of its cluster and one of its own: residual = mean - pixel. A block
    # of 32 sites has four pixels at scale 8.
    random = np.random.default_rng(6)
    inside = 0
    for _ in range(1500):
        common = random.normal(0, 1, (fields, 1, 1, blocks, blocks)).repeat(4, axis=3).repeat(4, axis=4)
        if fields >= 4:
            common += random.normal(0, 1, (fields, 1, 1, 1, 1))
        pixels = common + random.normal(0, 1, (fields, 3, 1, 4 * blocks, 4 * blocks))
        mean = pixels.mean()
        inside += abs(mean) < 2 * standard_errors(np.ones((*pixels.shape, 1)), mean - pixels, 8)[0]
    # Five standard deviations of the binomial distribution, and the error of the expansion of Student's t.
    assert inside / 1500 == pytest.approx(0.9545, abs=0.027)


def test_a_single_block_has_no_error():
    assert standard_errors(np.ones((1, 3, 1, 4, 4, 2)), np.ones((1, 3, 1, 4, 4)), 8) == pytest.approx([np.inf] * 2)


@pytest.mark.parametrize("sigma", [0.8, 1.2])
def test_the_blur_is_found_from_coarse_spins(sigma, domains):
    coarse = Degradation(sigma=sigma).apply(domains, 8)
    found = calibrate(coarse, 8, DOMAIN, unknown=["sigma"])
    assert found.degradation.sigma == pytest.approx(sigma, abs=0.005)
    spins = reconstruct(found.corrected(coarse), 8, hamiltonian=DOMAIN, degradation=found.degradation).spins
    assert mse(spins, domains).mean() < 1e-8


def test_gain_and_offset_of_a_component_are_found(labyrinths):
    coarse = Degradation().apply(labyrinths, 8) * np.array([1, 1, 1.1]) + np.array([0, 0, 0.05])
    found = calibrate(coarse, 8, LABYRINTH, unknown=["gain", "offset"])
    np.testing.assert_allclose(found.gain, [1, 1, 1.1], atol=2e-3)
    np.testing.assert_allclose(found.offset, [0, 0, 0.05], atol=2e-3)
    assert set(found.errors) == {f"{name}_{axis}" for name in ("gain", "offset") for axis in "xyz"}
    np.testing.assert_allclose(found.corrected(coarse), Degradation().apply(labyrinths, 8), atol=5e-3)


@pytest.mark.parametrize(("unknown", "message"), [(["sigm"], "unknown: 'sigm' can't be"), ([], "unknown: nothing")])
def test_what_can_not_be_calibrated_is_one_line(unknown, message, labyrinths):
    with pytest.raises(InputError, match=message):
        calibrate(Degradation().apply(labyrinths[:1], 8), 8, LABYRINTH, unknown=unknown)


def test_options_are_those_of_a_config():
    assert MAPFit(terms=("dmi",), map=MAP(weight=20.0)).map.weight == 20
    assert MAPFit(terms=("dmi", "dmi")).names(None) == ("dmi",)
    assert MAPFit().names(None) == ("dmi", "dipole", "anisotropy")
