"""Interpolation: exact where it must be, and the published table where that is what it reproduces."""

import numpy as np
import pytest

from rayspin.analysis.resolution import by_baseline, evaluate_resolution
from rayspin.metrics import PRINTED_PSNR_OFFSET
from rayspin.physics import Degradation
from rayspin.reconstruction.interpolation import bicubic, bilinear, gaussian, interpolation_matrix

KERNELS = [bilinear, bicubic(-0.5), bicubic(-0.75), gaussian]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("aligned", [True, False])
def test_uniform_spins_stay_uniform(kernel, aligned):
    matrix = interpolation_matrix(kernel, 8, 4, aligned=aligned)
    np.testing.assert_allclose(matrix.sum(axis=1), np.ones(32))


@pytest.mark.parametrize("kernel", [bilinear, bicubic(-0.5), bicubic(-0.75)])
def test_aligned_interpolation_passes_through_the_coarse_values(kernel):
    np.testing.assert_allclose(interpolation_matrix(kernel, 8, 4, aligned=True)[::4], np.eye(8), atol=1e-12)


def test_bilinear_is_numpys_linear_interpolation_around_the_edge():
    values = np.random.default_rng(1).normal(size=8)
    expected = np.interp(np.arange(32) / 4, np.arange(9), [*values, values[0]])
    np.testing.assert_allclose(interpolation_matrix(bilinear, 8, 4, aligned=True) @ values, expected)


@pytest.mark.parametrize("kernel", [bilinear, bicubic(-0.5)])
def test_published_placement_is_that_of_a_resize_by_areas(kernel):
    """A straight line, away from the edges, comes out shifted by (scale - 1) / 2 sites."""
    line = interpolation_matrix(kernel, 16, 4, aligned=False) @ np.arange(16.0)
    np.testing.assert_allclose(line[12:-12], ((np.arange(64) - 1.5) / 4)[12:-12], atol=1e-12)


@pytest.mark.parametrize(
    "degradation",
    [
        Degradation(),
        Degradation(sigma=0.0),
        Degradation(sampling="average"),
        Degradation(sigma=2.0, coarse_sigma=0.5),
    ],
)
@pytest.mark.parametrize(("size", "scale"), [(32, 4), (40, 8)])
def test_fourier_interpolation_restores_band_limited_spins(degradation, size, scale):
    rng = np.random.default_rng(2)
    sites = 2 * np.pi * np.arange(size) / size
    fine = np.zeros((1, size, size, 3), np.float32)
    # Every wave strictly below the coarse Nyquist frequency.
    below = range(-((size // scale - 1) // 2), (size // scale - 1) // 2 + 1)
    for rows in below:
        for columns in below:
            phase = rows * sites[:, None] + columns * sites + rng.uniform(0, 2 * np.pi)
            fine += (np.cos(phase)[..., None] * rng.normal(size=3)).astype(np.float32)
    restored = by_baseline("fourier", degradation)(degradation.apply(fine, scale), scale)
    np.testing.assert_allclose(restored, fine, atol=1e-6 * np.abs(fine).max())


def test_fourier_interpolation_keeps_the_wave_at_the_nyquist_frequency_as_a_cosine():
    coarse = np.zeros((8, 8, 3), np.float32)
    coarse[..., 2] = (-1.0) ** np.arange(8)
    fine = by_baseline("fourier", Degradation(sigma=0.0))(coarse, 4)
    expected = np.broadcast_to(np.cos(np.pi * np.arange(32) / 4), (32, 32))
    np.testing.assert_allclose(fine[..., 2], expected, atol=1e-6)


# 2023, Table 1, Type I: (MSE, PSNR as printed, Corr). The first MSE is printed as 0.64, which its PSNR contradicts.
PUBLISHED = {
    (4, "gaussian"): (0.064, 24.00, 0.74),
    (4, "bilinear"): (0.062, 24.14, 0.77),
    (4, "bicubic"): (0.061, 24.22, 0.85),
    (8, "gaussian"): (0.236, 18.33, 0.301),
    (8, "bilinear"): (0.243, 18.20, 0.353),
    (8, "bicubic"): (0.262, 17.89, 0.44),
}

# Measured independently on 100 labyrinths: MSE and Corr raw, MSE and Corr normalized.
MEASURED = {
    (4, "bilinear"): (0.0091, 0.857, 0.0016, 0.9976),
    (4, "bicubic"): (0.00097, 0.973, 0.00043, 0.9994),
    (4, "fourier"): (0.00015, 0.9997, 0.00008, 0.9999),
    (8, "bicubic"): (0.0268, 0.831, 0.0163, 0.976),
    (8, "fourier"): (0.0144, 0.972, 0.0084, 0.987),
    (16, "fourier"): (0.512, 0.132, 0.576, 0.135),
}


@pytest.fixture(scope="module")
def tables(labyrinths):
    degradation, names = Degradation(), {4: [], 8: [], 16: []}
    for scale, name in [*((scale, f"{name} (published)") for scale, name in PUBLISHED), *MEASURED]:
        names[scale].append(name)
    return {
        scale: evaluate_resolution(
            {name: by_baseline(name, degradation) for name in used},
            labyrinths,
            degradation.apply(labyrinths, scale),
            scale,
        )
        for scale, used in names.items()
    }


@pytest.mark.paper
@pytest.mark.parametrize(("scale", "name"), PUBLISHED)
def test_the_published_baselines_come_out(tables, scale, name):
    mse, psnr, correlation = PUBLISHED[scale, name]
    raw = tables[scale][f"{name} (published)"].raw
    assert raw.mse.mean() == pytest.approx(mse, rel=0.04)
    assert raw.psnr.mean() + PRINTED_PSNR_OFFSET == pytest.approx(psnr, abs=0.2)
    assert raw.correlation.mean() == pytest.approx(correlation, abs=0.015)


@pytest.mark.paper
@pytest.mark.parametrize(("scale", "name"), MEASURED)
def test_the_better_baselines_come_out(tables, scale, name):
    mse, correlation, normalized_mse, normalized_correlation = MEASURED[scale, name]
    row = tables[scale][name]
    # The spread of 100 fields, and half a unit of the last digit that was noted.
    assert row.raw.mse.mean() == pytest.approx(mse, rel=0.1)
    assert row.raw.correlation.mean() == pytest.approx(correlation, abs=0.02)
    assert row.normalized.mse.mean() == pytest.approx(normalized_mse, rel=0.1)
    assert row.normalized.correlation.mean() == pytest.approx(normalized_correlation, abs=0.02)
