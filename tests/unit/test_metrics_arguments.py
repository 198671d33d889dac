"""Arguments of metrics: accepted types, different shapes without broadcasting, and zero vectors."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin import metrics
from rayspin.analysis.estimation import Estimation
from rayspin.errors import InputError

METRICS = [
    metrics.mse,
    metrics.mse_per_component,
    metrics.psnr,
    metrics.psnr_as_printed,
    metrics.correlation,
    metrics.angle_error,
]
UP = np.zeros((2, 4, 6, 3))
UP[..., 2] = 1


@pytest.mark.parametrize("metric", METRICS)
def test_lists_and_integers_are_accepted(metric):
    estimate = np.roll(UP, 1, axis=-1)
    expected = metric(estimate, UP)
    np.testing.assert_array_equal(metric(estimate.tolist(), UP.astype(np.int8)), expected)
    np.testing.assert_array_equal(metric(estimate.astype(bool).astype(int), UP.astype(np.float32)), expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("estimate", "truth", "message"),
    [
        (UP, UP[0], r"estimate: has shape \(2, 4, 6, 3\), but the truth has \(4, 6, 3\); give arrays of the same"),
        (UP[:1], UP, "estimate: has shape"),
        (UP[:, :1], UP, "estimate: has shape"),
        (UP[..., :1], UP, r"estimate: have shape \(2, 4, 6, 1\)"),
        (UP[:0], UP[:0], r"estimate: have shape \(0, 4, 6, 3\)"),
        (UP, [[1.0], [1.0, 2.0]], "truth: are not an array"),
        (UP.astype(str), UP, "estimate: have dtype"),
        (None, UP, r"estimate: have shape \(\)"),
    ],
)
def test_invalid_pair_of_fields_is_a_one_line_error(metric, estimate, truth, message):
    with pytest.raises(InputError, match=f"^{message}"):
        metric(estimate, truth)


def test_metrics_of_uniform_fields_and_single_sites():
    for shape in ((1, 1, 3), (1, 1, 1, 3), (5, 7, 3)):
        up = np.zeros(shape)
        up[..., 2] = 1
        assert metrics.mse(up, up) == 0
        assert metrics.psnr(up, up) == np.inf
        assert metrics.correlation(up, up) == 1
        assert metrics.angle_error(up, up) == 0
        assert metrics.angle_error(up, -up) == pytest.approx(np.pi)


def test_angle_of_a_zero_vector_is_a_right_angle():
    """With an angle of 0, a network that returns zeros would have no error."""
    assert metrics.angle_error(np.zeros_like(UP), UP) == pytest.approx(np.pi / 2)
    assert metrics.angle_error(UP, np.zeros_like(UP)) == pytest.approx(np.pi / 2)
    assert metrics.angle_error(np.zeros_like(UP), np.zeros_like(UP)) == pytest.approx(0)


def test_zero_energy_agrees_with_zero_only():
    none = np.zeros(3)
    energies = np.array([0.0, 0.0, -2.0]), np.array([0.0, 0.1, -1.0])
    estimation = Estimation(np.zeros((3, 3)), *energies, angle=none, correlation=none, deviation=none)
    assert estimation.energy_agreement.tolist() == [1.0, -np.inf, 0.5]
