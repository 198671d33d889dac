"""Periodic padding, convolution and pooling against torch's own and plain maxima."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, interpolate, pad

from rayspin.models.layers import PeriodicConv, PeriodicMaxPool, periodic_pad


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (2, 2, 2, 8)])
def test_padding_is_torchs_circular_one_with_its_gradient(shape, memory_format):
    maps = torch.randn(shape, dtype=torch.double).to(memory_format=memory_format).requires_grad_()
    padded = periodic_pad(maps)
    assert torch.equal(padded, pad(maps, (1, 1, 1, 1), mode="circular"))
    assert padded.is_contiguous(memory_format=memory_format)
    assert torch.autograd.gradcheck(periodic_pad, maps)


def test_one_site_is_its_own_neighbor_on_all_sides():
    assert torch.equal(periodic_pad(torch.full((1, 1, 1, 1), 2.0)), torch.full((1, 1, 3, 3), 2.0))


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 3, 1, 2)])
def test_a_convolution_that_up_samples_is_the_two_one_after_the_other_with_their_gradients(shape):
    maps = torch.randn(shape, dtype=torch.double, requires_grad=True)
    layer = PeriodicConv(3, 2, bias=True, upsampling=True).double()
    large = interpolate(maps, scale_factor=2, mode="nearest")
    expected = conv2d(pad(large, (1, 1, 1, 1), mode="circular"), layer.weight, layer.bias)
    torch.testing.assert_close(layer(maps), expected)
    assert torch.autograd.gradcheck(layer, maps)


def test_pooling_takes_the_maximum_around_every_second_site():
    maps = np.random.default_rng(1).normal(size=(2, 3, 6, 8))
    nearby = [np.roll(maps, (y, x), axis=(2, 3)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    expected = np.max(nearby, axis=0)[:, :, ::2, ::2]
    assert np.array_equal(PeriodicMaxPool()(torch.from_numpy(maps)).numpy(), expected)
