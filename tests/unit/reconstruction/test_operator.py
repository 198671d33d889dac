"""The degradation as an operator: its adjoint, its inverse, and its action on waves."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.physics import Degradation
from rayspin.reconstruction.problem import Operator, unit

WIDE = Degradation(sigma=1.5, sampling="average", coarse_sigma=0.4)


def _random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("degradation", [Degradation(), WIDE])
def test_the_operator_is_the_degradation_and_its_adjoint_and_inverse_belong_to_it(degradation):
    operator = Operator(degradation, (16, 24), 4)
    fine, coarse = _random(1, 3, 16, 24), _random(2, 3, 4, 6)
    degraded = operator.apply(fine)
    np.testing.assert_allclose(np.moveaxis(degraded, 0, -1), degradation.apply(np.moveaxis(fine, 0, -1), 4), atol=1e-5)
    assert (degraded * coarse).sum() == pytest.approx((fine * operator.adjoint(coarse)).sum(), abs=1e-4)
    np.testing.assert_allclose(operator.apply(operator.inverse(coarse)), coarse, atol=1e-4)


@pytest.mark.parametrize("degradation", [Degradation(), WIDE])
def test_a_coarse_wave_is_the_sum_of_the_fine_waves_that_fold_into_it(degradation):
    operator = Operator(degradation, (16, 24), 4)
    fine = _random(3, 16, 24)
    waves = (operator.transfer() * np.fft.fft2(fine)).reshape(4, 4, 4, 6).sum(axis=(0, 2))
    np.testing.assert_allclose(waves, np.fft.fft2(operator.apply(fine)), atol=1e-4)


def test_degradations_without_an_inverse_are_refused():
    for degradation in (Degradation(sigma=8.0, window=101), Degradation(mosaic=2)):
        with pytest.raises(InputError, match="degradation: it has no inverse at scale 4"):
            Operator(degradation, (32, 32), 4)
    with pytest.raises(InputError, match="mosaic: 2 mixes"):
        Degradation(mosaic=2).transfer(32, 4)


def test_spins_are_normalized_and_zero_becomes_up():
    spins = np.zeros((3, 1, 2), np.float32)
    spins[:, 0, 0] = 0.3, 0, -0.4
    np.testing.assert_allclose(unit(spins)[:, 0].T, [[0.6, 0, -0.8], [0, 0, 1]], atol=1e-6)
