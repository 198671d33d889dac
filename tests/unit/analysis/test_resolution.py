"""The rows of the tables, on methods whose figures are known."""

import numpy as np
import pytest

from rayspin.analysis.resolution import by_network, evaluate_resolution, normalized
from rayspin.errors import InputError
from rayspin.models import SuperResolutionNetConfig


def _uniform(count):
    spins = np.zeros((count, 16, 16, 3), np.float32)
    spins[..., 2] = 1
    return spins


def test_a_method_that_gives_half_the_truth_is_right_after_normalization():
    fine = _uniform(3)
    rows = evaluate_resolution({"half": lambda _coarse, _scale: fine / 2}, fine, fine[:, ::4, ::4], 4)
    raw, unit = rows["half"].raw, rows["half"].normalized
    assert raw.mse == pytest.approx(np.full(3, 0.25 / 3))
    assert raw.correlation == pytest.approx(np.full(3, 0.5))
    assert raw.psnr == pytest.approx(np.full(3, 10 * np.log10(4 * 12)))
    assert unit.mse == pytest.approx(np.zeros(3))
    assert unit.correlation == pytest.approx(np.ones(3))


def test_a_method_sees_coarse_spins_only():
    seen = []

    def method(coarse, scale):
        seen.append((coarse.shape, scale))
        return np.zeros((2, 16, 16, 3), np.float32)

    evaluate_resolution({"zero": method}, _uniform(2), _uniform(2)[:, ::8, ::8], 8)
    assert seen == [((2, 2, 2, 3), 8)]


def test_a_network_is_a_method_of_its_own_scale():
    method = by_network(SuperResolutionNetConfig(scale=4, expanding_filters=(4,)).build())
    assert method(np.zeros((2, 4, 8, 3)), 4).shape == (2, 16, 32, 3)
    with pytest.raises(InputError, match="has scale 4, not 8"):
        method(np.zeros((2, 4, 4, 3)), 8)


def test_normalization_leaves_zero_at_zero():
    spins = np.array([[[[3.0, 0, 4.0], [0, 0, 0]]]], np.float32)
    assert normalized(spins) == pytest.approx(np.array([[[[0.6, 0, 0.8], [0, 0, 0]]]]))
