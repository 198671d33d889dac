"""Comparison of metrics with values calculated by hand, published values and exact relations."""

import numpy as np
import pytest

from rayspin import metrics


def _unit(seed, shape):
    vectors = np.random.default_rng(seed).normal(size=(*shape, 3))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def test_metrics_of_one_reversed_spin_of_four():
    truth = np.zeros((2, 2, 3), np.float32)
    truth[..., 2] = 1
    estimate = truth.copy()
    estimate[0, 0, 2] = -1
    # One of twelve components, at one of four sites, differs by 2.
    assert metrics.mse(estimate, truth) == pytest.approx(4 / 12)
    assert metrics.mse_per_component(estimate, truth) == pytest.approx([0, 0, 1])
    assert metrics.correlation(estimate, truth) == pytest.approx(0.5)
    assert metrics.angle_error(estimate, truth) == pytest.approx(np.pi / 4)
    assert metrics.psnr(estimate, truth) == pytest.approx(10 * np.log10(12))


def test_identical_fields():
    spins = _unit(1, (5, 4, 4))
    assert (metrics.mse(spins, spins) == 0).all()
    assert (metrics.psnr(spins, spins) == np.inf).all()
    assert metrics.correlation(spins, spins) == pytest.approx(np.ones(5), abs=1e-6)
    assert metrics.angle_error(spins, spins) == pytest.approx(np.zeros(5), abs=1e-7)


def test_mse_and_correlation_of_unit_vectors_are_related_as_published():
    a, b = _unit(2, (7, 16, 8)), _unit(3, (7, 16, 8))
    np.testing.assert_allclose(3 * metrics.mse(a, b), 2 * (1 - metrics.correlation(a, b)), rtol=1e-5)
    # The published MSE 0.0016 and Corr 0.9976 (labyrinth, x4, network) satisfy the relation.
    assert pytest.approx(0.0016) == 2 * (1 - 0.9976) / 3


@pytest.mark.parametrize(("mse", "printed"), [(0.0016, 39.96), (0.0065, 33.96), (0.262, 17.89), (0.00018, 49.68)])
def test_printed_psnr_follows_from_the_printed_mse(mse, printed):
    truth = np.zeros((1, 4, 4, 3))
    estimate = np.full_like(truth, np.sqrt(mse))
    # The printed MSE is rounded, and a mean of logarithms differs from the logarithm of the mean.
    assert metrics.psnr_as_printed(estimate, truth)[0] == pytest.approx(printed, abs=0.3)


def test_small_angles_are_accurate_and_independent_of_lengths():
    truth = np.zeros((1, 1, 3))
    truth[..., 0] = 1
    estimate = 3.0 * np.array([[[np.cos(1e-9), np.sin(1e-9), 0.0]]])
    assert metrics.angle_error(estimate, truth) == pytest.approx(1e-9, rel=1e-6)


def test_leading_axes_are_kept():
    a, b = _unit(4, (2, 3, 4, 4)), _unit(5, (2, 3, 4, 4))
    for metric in (metrics.mse, metrics.psnr, metrics.correlation, metrics.angle_error):
        figures = metric(a, b)
        assert figures.shape == (2, 3)
        assert figures[1, 2] == pytest.approx(metric(a[1, 2], b[1, 2]))


def test_correlation_coefficients_are_those_of_numpy():
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(2, 4, 5, 3))
    estimate = 0.3 * truth + rng.normal(size=truth.shape) + 7
    whole = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(estimate, truth)]
    assert metrics.correlation_coefficient(estimate, truth) == pytest.approx(whole)
    each = [
        [np.corrcoef(a[..., c].ravel(), b[..., c].ravel())[0, 1] for c in range(3)] for a, b in zip(estimate, truth)
    ]
    assert metrics.correlation_coefficients(estimate, truth) == pytest.approx(np.array(each))
    assert metrics.correlation_coefficient(np.ones((4, 5, 3)), truth[0]) == 0
