"""Sizes counted by hand, and what periodic networks must not notice."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from rayspin.errors import InputError
from rayspin.models import EffectiveFieldNetConfig, SuperResolutionNetConfig
from rayspin.models.layers import PeriodicConv, PeriodicMaxPool
from rayspin.physics import Degradation


def _trained_looking(network, spins):
    """Batch norm statistics and weights that make every layer matter."""
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(spins)
    return network.eval()


def _as_published(network):
    """The same network with an up-sampling layer before each convolution that has one in it."""
    for name, layer in network.named_children():
        if isinstance(layer, PeriodicConv) and layer.upsampling:
            layer.upsampling = False
            setattr(network, name, nn.Sequential(nn.Upsample(scale_factor=2), layer))
        else:
            _as_published(layer)
    return network


def test_the_published_field_network_has_the_size_counted_by_hand():
    # 3x3 convolutions without bias, and a gain and an offset of batch norm for each filter.
    encoder = 9 * (3 * 8 + 8 * 16 + 16 * 32 + 32 * 64) + 2 * (8 + 16 + 32 + 64)
    decoder = 9 * (64 * 32 + 32 * 16 + 16 * 8 + 8 * 3) + 2 * (32 + 16 + 8 + 3)
    last = 9 * 3 * 3 + 3
    network = EffectiveFieldNetConfig().build()
    assert sum(p.numel() for p in network.parameters()) == encoder + decoder + last == 49258


def test_the_field_network_goes_from_128_to_8_and_back():
    network = _as_published(EffectiveFieldNetConfig().build())
    shapes = []
    for layer in network.modules():
        if isinstance(layer, nn.ReLU | PeriodicMaxPool | nn.Upsample):
            layer.register_forward_hook(lambda _layer, _inputs, maps: shapes.append(tuple(maps.shape[1:])))
    assert network(torch.zeros(2, 3, 128, 64)).shape == (2, 3, 128, 64)
    down = [(8, 128, 64), (8, 64, 32), (16, 64, 32), (16, 32, 16), (32, 32, 16), (32, 16, 8), (64, 16, 8), (64, 8, 4)]
    up = [(64, 16, 8), (32, 16, 8), (32, 32, 16), (16, 32, 16), (16, 64, 32), (8, 64, 32), (8, 128, 64), (3, 128, 64)]
    assert shapes == [*down, *up]


@pytest.mark.parametrize(
    ("config", "blocks"),
    [(EffectiveFieldNetConfig(), 4), *((SuperResolutionNetConfig(scale=2**n), n) for n in (2, 3, 4))],
    ids=str,
)
def test_networks_are_those_with_up_sampling_layers(config, blocks):
    spins = torch.randn(2, 3, 32, 16, generator=torch.Generator().manual_seed(5))
    network = config.build().double()
    published = _as_published(copy.deepcopy(network))
    assert sum(isinstance(layer, nn.Upsample) for layer in published.modules()) == blocks
    maps, expected = network(spins.double()), published(spins.double())
    torch.testing.assert_close(maps, expected)
    for each in (maps, expected):
        each.square().sum().backward()
    for ours, theirs in zip(network.parameters(), published.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize(
    ("scale", "upsampling"),
    [(4, (16, 8)), (8, (32, 16, 8)), (16, (48, 32, 16, 8))],
)
def test_the_published_super_resolution_networks_have_the_sizes_counted_by_hand(scale, upsampling):
    filters = (3, 64, 64, 64, 64, *upsampling)
    blocks = sum(9 * a * b + 2 * b for a, b in pairwise(filters))
    network = SuperResolutionNetConfig(scale=scale).build()
    assert sum(p.numel() for p in network.parameters()) == blocks + 9 * 8 * 3 + 3
    assert network(torch.zeros(1, 3, 8, 4)).shape == (1, 3, 8 * scale, 4 * scale)


def test_the_field_network_commutes_with_translations_by_its_stride():
    spins = torch.randn(4, 3, 48, 32, generator=torch.Generator().manual_seed(1))
    network = _trained_looking(EffectiveFieldNetConfig().build(), spins)
    with torch.no_grad():
        moved = network(spins.roll((16, -16), dims=(2, 3)))
        torch.testing.assert_close(moved, network(spins).roll((16, -16), dims=(2, 3)))
        by_half = network(spins.roll(8, dims=3))
        assert not torch.allclose(by_half, network(spins).roll(8, dims=3), atol=1e-4)


@pytest.mark.parametrize("normalized_output", [False, True])
def test_the_super_resolution_network_commutes_with_translations_by_a_coarse_pixel(normalized_output):
    coarse = torch.randn(4, 3, 6, 8, generator=torch.Generator().manual_seed(2))
    config = SuperResolutionNetConfig(scale=8, normalized_output=normalized_output)
    network = _trained_looking(config.build(), coarse)
    with torch.no_grad():
        fine = network(coarse)
        torch.testing.assert_close(network(coarse.roll((1, 3), dims=(2, 3))), fine.roll((8, 24), dims=(2, 3)))
        unit = torch.allclose(fine.norm(dim=1), torch.ones(4, 48, 64))
    assert unit == normalized_output


@pytest.mark.parametrize("shape", [(120, 128), (128, 24)])
def test_a_lattice_that_the_network_cannot_halve_is_refused(shape):
    config = EffectiveFieldNetConfig()
    with pytest.raises(InputError, match="multiples of 16"):
        config.check_lattice(shape)
    with pytest.raises(InputError, match="multiples of 16"):
        config.build()(torch.zeros(1, 3, *shape))


def test_a_lattice_that_the_scale_does_not_divide_is_refused():
    with pytest.raises(InputError, match="multiples of 16"):
        SuperResolutionNetConfig(scale=16).check_lattice((128, 24))
    SuperResolutionNetConfig(scale=8).check_lattice((128, 24))


def test_a_lattice_of_one_coarse_pixel_is_refused():
    with pytest.raises(InputError, match="16 x 16 is a single pixel at scale 16"):
        SuperResolutionNetConfig(scale=16).check_lattice((16, 16))
    SuperResolutionNetConfig(scale=16).check_lattice((16, 32))


def test_encoder_and_decoder_must_be_of_equal_depth():
    with pytest.raises(ValueError, match="give both the same number"):
        EffectiveFieldNetConfig(encoder_filters=(8, 16), decoder_filters=(8, 8, 3))


@pytest.mark.parametrize("normalized_output", [False, True])
def test_a_residual_network_starts_as_the_fourier_interpolation(normalized_output):
    degradation = Degradation(sigma=1.5)
    config = SuperResolutionNetConfig(
        scale=4, start="fourier", degradation=degradation, normalized_output=normalized_output
    )
    coarse = torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(3))
    rows, columns = (torch.tensor(degradation.inverse(4 * n, 4), dtype=torch.float32) for n in (8, 6))
    start = torch.einsum("Yy,ncyx,Xx->ncYX", rows, coarse, columns)
    expected = start / start.norm(dim=1, keepdim=True) if normalized_output else start
    network = config.build()
    torch.testing.assert_close(network(coarse), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        network.last.bias += 1
    assert not torch.allclose(network(coarse), expected, atol=1e-2)
