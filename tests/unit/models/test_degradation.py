"""Degradations against plain sums over sites."""

import numpy as np
import pytest
import torch

from rayspin.errors import InputError
from rayspin.models import Degrade
from rayspin.physics import Degradation

ALL_AT_ONCE = Degradation(sigma=2.5, sampling="average", coarse_sigma=0.7, mosaic=2)


def _gaussian_window(fine, sigma, window, scale):
    """The published degradation as the paper says it: a window of weights laid over every `scale`-th site."""
    rows, columns, _ = fine.shape
    reach = window // 2
    coarse = np.zeros((rows // scale, columns // scale, 3))
    for y in range(rows // scale):
        for x in range(columns // scale):
            total = 0.0
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    weight = np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
                    total += weight
                    coarse[y, x] += weight * fine[(y * scale + dy) % rows, (x * scale + dx) % columns]
            coarse[y, x] /= total
    return coarse


def _degraded(degradation, fine, scale):
    tensor = torch.from_numpy(np.moveaxis(fine, -1, 0)[None])
    return np.moveaxis(Degrade(degradation, scale)(tensor)[0].numpy(), 0, -1)


@pytest.mark.parametrize("scale", [4, 8])
def test_the_default_is_the_published_gaussian(scale):
    fine = np.random.default_rng(3).normal(size=(16, 24, 3))
    expected = _gaussian_window(fine, sigma=1.0, window=23, scale=scale)
    np.testing.assert_allclose(_degraded(Degradation(), fine, scale), expected, atol=1e-12)


def test_without_a_blur_the_corner_of_each_block_remains():
    fine = np.random.default_rng(4).normal(size=(16, 8, 3))
    np.testing.assert_allclose(_degraded(Degradation(sigma=0.0), fine, 4), fine[::4, ::4], atol=1e-12)


def test_average_sampling_is_the_mean_of_each_block():
    fine = np.random.default_rng(5).normal(size=(16, 8, 3))
    blocks = fine.reshape(4, 4, 2, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(_degraded(Degradation(sigma=0.0, sampling="average"), fine, 4), blocks, atol=1e-12)


def test_a_mosaic_shows_the_average_of_its_tiles():
    fine = np.random.default_rng(6).normal(size=(32, 16, 3))
    corners = fine[::4, ::4]
    tiles = corners.reshape(4, 2, 2, 2, 3).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(_degraded(Degradation(sigma=0.0, mosaic=2), fine, 4), tiles, atol=1e-12)


def test_a_further_blur_damps_a_coarse_wave_as_a_gaussian_does():
    wave_number = 2 * np.pi * 2 / 32
    fine = np.zeros((128, 128, 3))
    fine[..., 0] = np.cos(wave_number * np.arange(128) / 4)
    plain = _degraded(Degradation(sigma=0.0), fine, 4)
    blurred = _degraded(Degradation(sigma=0.0, coarse_sigma=1.5), fine, 4)
    np.testing.assert_allclose(blurred, np.exp(-0.5 * (1.5 * wave_number) ** 2) * plain, atol=2e-4)


@pytest.mark.parametrize("degradation", [Degradation(), ALL_AT_ONCE])
def test_arrays_are_degraded_as_tensors_are(degradation):
    fine = np.random.default_rng(7).normal(size=(2, 64, 32, 3))
    coarse = degradation.apply(fine.astype(np.float32), 8)
    assert coarse.dtype == np.float32
    expected = np.stack([_degraded(degradation, field, 8) for field in fine])
    np.testing.assert_allclose(coarse, expected, atol=1e-6)
    with pytest.raises(InputError, match="blocks of"):
        degradation.apply(fine, 5)


@pytest.mark.parametrize("degradation", [Degradation(), ALL_AT_ONCE])
def test_uniform_spins_stay_and_gradients_flow(degradation):
    fine = torch.full((2, 3, 32, 32), 0.25, requires_grad=True)
    coarse = Degrade(degradation, 8)(fine)
    torch.testing.assert_close(coarse, torch.full((2, 3, 4, 4), 0.25))
    coarse.sum().backward()
    # Every coarse pixel hands out its weight of 1, so the fine sites collect as much as there are pixels.
    torch.testing.assert_close(fine.grad.sum(), torch.tensor(2.0 * 3 * 4 * 4))


def test_blocks_that_do_not_fit_and_windows_without_a_middle_are_refused():
    with pytest.raises(InputError, match="blocks of 16"):
        Degradation(mosaic=2).check_lattice((32, 24), 8)
    with pytest.raises(InputError, match="blocks of 4"):
        Degrade(Degradation(), 4)(torch.zeros(1, 3, 30, 32))
    with pytest.raises(ValueError, match="odd number"):
        Degradation(window=22)
