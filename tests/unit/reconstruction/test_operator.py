"""The degradation as an operator: its adjoint, its inverse, its action on waves, shifts, and classes of one's own."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.physics import Degradation
from rayspin.reconstruction import reconstruct
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.problem import unit

WIDE = Degradation(sigma=1.5, sampling="average", coarse_sigma=0.4)
QUINCUNX = ((0, 0), (2, 2))
SEVERAL = ((0, 1), (2, 0), (3, 3))


class Cross:
    """A degradation that is not separable: the mean of a site and its four neighbors, at the first site of a block.

    Its adjoint is written from the definition, and it tells no inverse.
    """

    def __init__(self, periodic=True):
        self.periodic = periodic

    def operator(self, shape, scale):
        self.shape, self.scale = shape, scale
        return self

    def _edge(self):
        edge = np.ones(self.shape, np.float32)
        if not self.periodic:
            edge[0], edge[:, 0] = 0, 0
        return edge

    def apply(self, fine_YX):
        near = sum(np.roll(fine_YX, move, (-2, -1)) for move in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))) / 5
        return (near * self._edge())[..., :: self.scale, :: self.scale]

    def adjoint(self, coarse_YX):
        fine = np.zeros((*coarse_YX.shape[:-2], *self.shape), np.float32)
        fine[..., :: self.scale, :: self.scale] = coarse_YX
        fine *= self._edge()
        return sum(np.roll(fine, move, (-2, -1)) for move in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))) / 5


def _random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("degradation", [Degradation(), WIDE])
def test_the_operator_is_the_degradation_and_its_adjoint_and_inverse_belong_to_it(degradation):
    operator = Operator(degradation, (16, 24), 4)
    fine, coarse = _random(1, 3, 16, 24), _random(2, 3, 1, 4, 6)
    degraded = operator.apply(fine)
    expected = degradation.apply(np.moveaxis(fine, 0, -1), 4)
    np.testing.assert_allclose(np.moveaxis(degraded[:, 0], 0, -1), expected, atol=1e-5)
    assert (degraded * coarse).sum() == pytest.approx((fine * operator.adjoint(coarse)).sum(), abs=1e-4)
    np.testing.assert_allclose(operator.apply(operator.inverse(coarse)), coarse, atol=1e-4)


@pytest.mark.parametrize("degradation", [Degradation(), WIDE, Cross(), Cross(periodic=False), Degradation(mosaic=2)])
def test_the_adjoint_of_several_observations_belongs_to_them(degradation):
    operator = Operator(degradation, (16, 24), 4, SEVERAL)
    fine, coarse = _random(1, 3, 16, 24), _random(2, 3, 3, 4, 6)
    assert (operator.apply(fine) * coarse).sum() == pytest.approx((fine * operator.adjoint(coarse)).sum(), abs=1e-4)


def test_the_pixels_of_an_observation_lie_at_its_shift_from_the_first_sites_of_the_blocks():
    operator = Operator(Degradation(sigma=0.0), (8, 12), 4, ((0, 0), (1, 2), (-1, 5)))
    fine = _random(4, 8, 12)
    found = operator.apply(fine)
    for observation, (y, x) in zip(found, ((0, 0), (1, 2), (-1, 5))):
        np.testing.assert_array_equal(observation, np.roll(fine, (-y, -x), (0, 1))[::4, ::4])
    assert found[1, 1, 2] == fine[4 + 1, 8 + 2]


@pytest.mark.parametrize("shifts", [((0, 0),), ((1, 3),), QUINCUNX, SEVERAL, ((0, 0), (2, 0), (0, 2), (2, 2))])
@pytest.mark.parametrize("degradation", [Degradation(), Cross()])
def test_the_inverse_agrees_with_every_observation(degradation, shifts):
    operator = Operator(degradation, (16, 24), 4, shifts)
    coarse = _random(2, 3, len(shifts), 4, 6)
    np.testing.assert_allclose(operator.apply(operator.inverse(coarse)), coarse, atol=2e-4)


def test_the_inverse_restores_the_longest_waves_that_the_observations_determine():
    y, x = np.mgrid[:16, :16] * 2 * np.pi / 16
    # Two observations on a quincunx see waves twice as dense: 3 of 16 turns are beyond the band of one, which has 2.
    fine = (np.cos(3 * y + 0.3) + np.sin(x - y) + 0.5).astype(np.float32)
    two, one = (Operator(Degradation(), (16, 16), 4, shifts) for shifts in (QUINCUNX, QUINCUNX[:1]))
    np.testing.assert_allclose(two.inverse(two.apply(fine)), fine, atol=1e-4)
    assert np.abs(one.inverse(one.apply(fine)) - fine).max() > 0.5


def test_observations_that_show_the_same_are_averaged():
    twice, once = (Operator(WIDE, (16, 24), 4, shifts) for shifts in (((0, 0), (16, 24)), ((0, 0),)))
    coarse = _random(2, 3, 2, 4, 6)
    degraded = twice.apply(twice.inverse(coarse))
    np.testing.assert_allclose(degraded, np.broadcast_to(coarse.mean(axis=1, keepdims=True), coarse.shape), atol=1e-4)
    mean = once.apply(once.inverse(coarse.mean(axis=1, keepdims=True)))
    np.testing.assert_allclose(degraded[:, :1], mean, atol=1e-4)


@pytest.mark.parametrize("degradation", [Degradation(), WIDE, Cross()])
def test_a_coarse_wave_is_the_sum_of_the_fine_waves_that_fold_into_it(degradation):
    operator = Operator(degradation, (16, 24), 4, SEVERAL)
    fine = _random(3, 16, 24)
    waves = (operator.transfer * np.fft.fft2(fine)).reshape(3, 4, 4, 4, 6).sum(axis=(1, 3))
    np.testing.assert_allclose(waves, np.fft.fft2(operator.apply(fine)), atol=1e-4)


def test_the_mean_response_of_a_degradation_that_commutes_is_the_square_of_its_factors():
    # Each wave folds with 3 others, and the mean over translations of D^T D keeps |h|^2 * scale^2 of each.
    operator = Operator(Degradation(), (16, 16), 2)
    expected = 4 * np.square(np.abs(operator.transfer[0]))
    assert np.abs(operator.mean_response() - expected).max() < 0.3 * expected.max()


def test_degradations_without_an_inverse_are_refused_by_methods_that_need_one():
    coarse = np.zeros((1, 3, 1, 8, 8), np.float32)
    for degradation in (Degradation(sigma=8.0, window=101), Degradation(mosaic=2), Cross(periodic=False)):
        with pytest.raises(InputError, match="degradation: it has no inverse at scale 4"):
            Operator(degradation, (32, 32), 4).inverse(coarse)
    for degradation in (Degradation(mosaic=2), Cross(periodic=False)):
        with pytest.raises(InputError, match="degradation: it does not map waves to waves"):
            _ = Operator(degradation, (32, 32), 4).transfer


@pytest.mark.parametrize("degradation", [Cross(), Cross(periodic=False), Degradation(mosaic=2), WIDE])
def test_map_needs_no_inverse(degradation, labyrinths):
    fine = labyrinths[:1]
    operator = Operator(degradation, (64, 64), 4)
    coarse = np.moveaxis(operator.apply(np.moveaxis(fine, -1, 1)), 1, -1)[:, 0]
    spins = reconstruct(coarse, 4, hamiltonian="labyrinth", degradation=degradation).spins
    assert np.square(spins - fine).mean() < 2e-5


def test_spins_are_normalized_and_zero_becomes_up():
    spins = np.zeros((3, 1, 2), np.float32)
    spins[:, 0, 0] = 0.3, 0, -0.4
    np.testing.assert_allclose(unit(spins)[:, 0].T, [[0.6, 0, -0.8], [0, 0, 1]], atol=1e-6)
