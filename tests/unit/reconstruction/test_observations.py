"""Several observations, missing pixels and S_z alone: what each adds or takes away."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.metrics import mse
from rayspin.physics import Degradation
from rayspin.reconstruction import MAP, Fourier, Projections, WienerEM, reconstruct
from rayspin.reconstruction.interpolation import Interpolation
from rayspin.reconstruction.observations import without_gaps
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import Problem
from rayspin.reconstruction.reconstruct import METHODS

SHIFTS = ((0, 0), (4, 4))


def _observed(fine_NYXC, scale, shifts):
    moved = [Degradation().apply(np.roll(fine_NYXC, (-y, -x), axis=(1, 2)), scale) for y, x in shifts]
    return np.stack(moved, axis=1)


@pytest.mark.parametrize("method", ["fourier", "projections", WienerEM(rounds=40), "map"])
def test_a_second_observation_divides_the_error(labyrinths, method):
    coarse = _observed(labyrinths, 8, SHIFTS)
    errors = [
        mse(reconstruct(coarse[:, :count], 8, method, hamiltonian="labyrinth", shifts=SHIFTS[:count]).spins, labyrinths)
        for count in (1, 2)
    ]
    assert errors[1].mean() < errors[0].mean() / 2


def test_the_axis_of_observations_may_stand_alone_and_a_shift_moves_the_result(labyrinths):
    coarse = _observed(labyrinths, 8, SHIFTS)
    one, many = (reconstruct(part, 8, "fourier", shifts=SHIFTS).spins for part in (coarse[0], coarse))
    np.testing.assert_allclose(one, many[0], atol=1e-6)
    for method in ("fourier", "bicubic"):
        moved = reconstruct(coarse[:, 1:], 8, method, shifts=SHIFTS[1:]).spins
        unmoved = reconstruct(coarse[:, 1], 8, method).spins
        np.testing.assert_allclose(moved, np.roll(unmoved, (4, 4), axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("method", ["fourier", "projections", WienerEM(rounds=30), MAP(gap_tries=2)])
def test_values_of_missing_pixels_do_not_matter(labyrinths, method):
    coarse = Degradation().apply(labyrinths, 4)
    known = np.random.default_rng(1).random(coarse.shape[:-1]) > 0.1
    results = []
    for value in (np.nan, 7.0):
        damaged = np.where(known[..., None], coarse, value)
        results.append(reconstruct(damaged, 4, method, hamiltonian="labyrinth", known=known).spins)
    np.testing.assert_array_equal(*results)


def test_map_and_filters_restore_what_missing_pixels_took(domains):
    coarse = Degradation().apply(domains, 4)
    known = np.random.default_rng(2).random(coarse.shape[1:-1]) > 0.1
    errors = {
        str(method): mse(reconstruct(coarse, 4, method, hamiltonian="domain", known=known).spins, domains).mean()
        for method in ("fourier", Projections(start="wiener-em"), MAP(gap_tries=2))
    }
    filled, ap, posterior = errors.values()
    assert ap < filled
    assert posterior < 1e-7


def test_gaps_are_filled_from_all_sides():
    known = np.ones((1, 1, 4, 4), bool)
    known[0, 0, 1, 1] = known[0, 0, 1, 2] = False
    coarse = np.broadcast_to(np.arange(4.0)[:, None, None], (1, 1, 4, 4, 3))
    np.testing.assert_allclose(without_gaps(coarse, known)[0, 0, 1], 1)
    np.testing.assert_array_equal(without_gaps(coarse, known)[known], coarse[known])


def test_labyrinths_follow_from_the_out_of_plane_component(labyrinths):
    coarse = Degradation().apply(labyrinths, 4)[..., 2:]
    assert mse(reconstruct(coarse, 4, hamiltonian="labyrinth").spins, labyrinths).mean() < 1e-5


def test_the_out_of_plane_component_of_domains_fixes_it_and_the_length_in_the_plane(domains):
    coarse = Degradation().apply(domains, 4)[..., 2:]
    spins = reconstruct(coarse, 4, hamiltonian="domain").spins
    assert np.square(spins[..., 2] - domains[..., 2]).mean() < 1e-6
    in_plane = [np.linalg.norm(found[..., :2], axis=-1) for found in (spins, domains)]
    assert np.square(in_plane[0] - in_plane[1]).mean() < 1e-6


@pytest.mark.parametrize("noise", [0.1, None])
def test_noise_of_the_out_of_plane_component_alone_is_additive(labyrinths, noise):
    rng = np.random.default_rng(3)
    coarse = Degradation().apply(labyrinths, 4)[..., 2:]
    coarse = coarse + 0.1 / np.sqrt(3) * rng.normal(size=coarse.shape)
    result = reconstruct(coarse, 4, MAP(iterations=40, tolerance=1e-3), hamiltonian="labyrinth", noise=noise)
    assert result.noise == pytest.approx(0.1, rel=0.3)
    assert mse(result.spins, labyrinths).mean() < 5e-3


@pytest.mark.parametrize("shape", [(6, 9), (5, 14), (3, 1)])
def test_any_rectangle_of_pixels_is_reconstructed(shape):
    coarse = np.random.default_rng(4).normal(size=(2, *shape, 3))
    coarse /= 2 * np.linalg.norm(coarse, axis=-1).max()
    for name, make in METHODS.items():
        if name != "wiener":
            method = MAP(iterations=3) if name == "map" else make()
            spins = reconstruct(coarse, 3, method, hamiltonian={"dmi": 0.3, "dipole": 0.01}).spins
            assert spins.shape == (2, 3 * shape[0], 3 * shape[1], 3)
            assert np.isfinite(spins).all()


def test_s_z_alone_is_refined_as_in_all_components_and_limited(labyrinths):
    """Interpolations and the Fourier inverse treat each component by itself; a spin has no S_z beyond 1."""
    coarse = Degradation().apply(labyrinths, 4)
    padded = coarse * np.array([0, 0, 1], np.float32)
    for method in (Interpolation(), Fourier()):
        alone = reconstruct(coarse[..., 2:], 4, method).spins
        operator = Operator(Degradation(), (64, 64), 4)
        whole = method.solve(Problem(np.moveaxis(padded, -1, 1)[:, :, None], operator))
        np.testing.assert_allclose(alone[..., 0], np.clip(whole[:, 2], -1, 1), atol=1e-6)
    limited = reconstruct(coarse[..., 2:], 4, "projections").spins
    assert limited.shape == (*labyrinths.shape[:3], 1)
    assert np.abs(limited).max() <= 1
    error = [np.square(values - labyrinths[..., 2:]).mean() for values in (limited, alone)]
    assert error[0] < error[1]
    again = operator.apply(np.moveaxis(limited, -1, 1))[:, 0, 0]
    assert np.abs(again - coarse[..., 2]).max() < 2e-3
