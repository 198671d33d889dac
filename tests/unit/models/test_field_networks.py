"""Networks for effective fields: units of their output, the U-Net counted by hand, and what files keep of both."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rayspin.errors import InputError
from rayspin.jobs.train.job import TrainFcn
from rayspin.models import (
    EffectiveFieldNet,
    EffectiveFieldNetConfig,
    FieldOutput,
    FieldUNet,
    FieldUNetConfig,
    SuperResolutionNetConfig,
    apply,
    load_weights,
    save_weights,
    weights_info,
)
from rayspin.models.layers import PeriodicMaxPool
from rayspin.show import describe
from tests.support.training import smooth_spins

SMALL_UNET = FieldUNetConfig(patch=2, filters=(4, 6))
CONFIGS = [EffectiveFieldNetConfig(encoder_filters=(2, 3), decoder_filters=(3, 2)), SMALL_UNET]


def _settled(network, spins_NYXC):
    """Batch norm statistics that fit the spins, in evaluation mode."""
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.from_numpy(np.moveaxis(spins_NYXC, -1, 1).copy()))
    return network.eval()


@pytest.mark.parametrize("config", CONFIGS)
def test_the_output_is_scaled_and_the_field_has_the_isotropic_part_too(config):
    spins = smooth_spins(3, seed=1, size=16)
    network = _settled(config.build(), spins)
    plain = apply(network, spins)
    np.testing.assert_array_equal(network.field(spins), plain)
    network.output = FieldOutput(isotropic=4.5, scale=0.25)
    np.testing.assert_allclose(apply(network, spins), 0.25 * plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network.field(spins), 0.25 * plain + 4.5 * spins, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network.field(spins[1]), network.field(spins)[1], atol=1e-5)
    np.testing.assert_allclose(network.field(spins, batch_size=2), network.field(spins), atol=1e-5)


def test_the_u_net_has_the_size_counted_by_hand():
    # 3x3 convolutions without bias, and a gain and an offset of batch norm for each filter.
    pairs = [(48, 32), (32, 48), (48, 64), (64, 48), (96, 48), (48, 32), (64, 32)]
    blocks = sum(9 * a * b + 2 * b for a, b in pairs)
    network = FieldUNetConfig().build()
    assert sum(p.numel() for p in network.parameters()) == blocks + 9 * 32 * 48 + 48 == 171152


def test_the_u_net_works_at_strides_4_8_and_16_only():
    network = FieldUNetConfig().build()
    shapes = []
    for layer in network.modules():
        if isinstance(layer, nn.ReLU | PeriodicMaxPool):
            layer.register_forward_hook(lambda _layer, _inputs, maps: shapes.append(tuple(maps.shape[1:])))
    assert network(torch.zeros(2, 3, 128, 64)).shape == (2, 3, 128, 64)
    down = [(32, 32, 16), (32, 16, 8), (48, 16, 8), (48, 8, 4), (64, 8, 4)]
    assert shapes == [*down, (48, 16, 8), (48, 16, 8), (32, 32, 16), (32, 32, 16)]


def test_the_u_net_commutes_with_translations_by_its_stride():
    spins = smooth_spins(2, seed=3, size=48)
    network = _settled(FieldUNetConfig(filters=(4, 6, 8)).build(), spins)
    assert network.config.stride == 16
    moved = np.roll(spins, (16, -16), axis=(1, 2))
    field = apply(network, spins)
    np.testing.assert_allclose(apply(network, moved), np.roll(field, (16, -16), axis=(1, 2)), atol=1e-5)
    by_half = apply(network, np.roll(spins, 8, axis=2))
    assert not np.allclose(by_half, np.roll(field, 8, axis=2), atol=1e-3)


def test_the_skip_connections_of_the_u_net_matter():
    spins = smooth_spins(2, seed=3, size=16)
    network = _settled(SMALL_UNET.build(), spins)
    field = apply(network, spins)
    with torch.no_grad():
        for parameter in network.unet.encoder[-1].parameters():
            parameter.zero_()
    # Nothing comes through the coarsest stride any more, and the spins still do.
    cut = apply(network, spins)
    assert not np.allclose(cut, field, atol=1e-3)
    assert not np.allclose(apply(network, spins[::-1]), cut, atol=1e-3)


@pytest.mark.parametrize("shape", [(120, 128), (128, 24)])
def test_a_lattice_that_the_stride_of_the_u_net_does_not_divide_is_refused(shape):
    with pytest.raises(InputError, match=r"size: the network's stride of 16 doesn't divide .*; use sides that are"):
        FieldUNetConfig().build()(torch.zeros(1, 3, *shape))
    FieldUNetConfig(patch=4, filters=(8, 8)).check_lattice((120, 24))


def test_the_key_architecture_selects_the_network_of_a_job():
    def network(table):
        return TrainFcn.model_validate({"dataset": "runs/data", "network": table}).network

    assert network({"encoder_filters": [4], "decoder_filters": [3]}).encoder_filters == (4,)
    assert network({"architecture": "encoder-decoder"}) == EffectiveFieldNetConfig()
    assert network({"architecture": "u-net", "filters": [8, 16]}) == FieldUNetConfig(filters=(8, 16))
    assert network(FieldUNetConfig(patch=2)) == FieldUNetConfig(patch=2)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"architecture": "unet"}, "network.architecture: unknown value 'unet'; did you mean 'u-net'?"),
        ({"architecture": ["u-net"]}, "network.architecture: unknown value"),
        (
            {"architecture": "u-net", "encoder_filters": [4]},
            "network.encoder_filters: unknown key; did you mean",
        ),
        ({"filters": [4]}, "network.filters: unknown key; did you mean 'encoder_filters'"),
        ({"architecture": "u-net", "patch": 0}, "network.patch: 0 is invalid"),
        ("u-net", "network: 'u-net' is not a network; write a table"),
    ],
)
def test_a_network_that_no_architecture_has_is_refused_in_one_line(table, message):
    with pytest.raises(InputError) as error:
        TrainFcn(dataset="runs/data", network=table)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("config", CONFIGS)
def test_weight_files_keep_the_architecture_and_the_output(tmp_path, config):
    spins = smooth_spins(2, seed=4, size=16)
    network = _settled(config.build(), spins)
    network.output = FieldOutput(isotropic=4.0, scale=0.0497)
    path = tmp_path / "w.safetensors"
    save_weights(path, network, {"data": {"samples": 3}})
    back = load_weights(path)
    assert (back.config, back.output) == (network.config, network.output)
    np.testing.assert_array_equal(back.field(spins), network.field(spins))
    title, rows = describe(path, None)
    assert title == "effective-field network"
    assert rows["network.architecture"] == config.architecture
    assert (rows["output.isotropic"], rows["output.scale"]) == ("4", "0.0497")


def test_files_written_before_load_as_the_published_network_for_the_field(tmp_path):
    path = tmp_path / "w.safetensors"
    network = CONFIGS[0].build()
    save_weights(path, network, {})
    facts = weights_info(path)
    before = {"network": "effective-field", "config": dict(facts["config"]), "provenance": {}}
    del before["config"]["architecture"]
    before["config"]["skip_connections"] = False
    save_file(load_file(path), path, metadata={"rayspin": json.dumps(before)})
    back = load_weights(path)
    assert isinstance(back, EffectiveFieldNet)
    assert (back.config, back.output) == (network.config, FieldOutput(isotropic=0.0, scale=1.0))


@pytest.mark.parametrize(
    ("network", "facts", "message"),
    [
        (SMALL_UNET, {"output": {"scale": 0.0}}, r"w\.safetensors: scale: 0\.0 is invalid"),
        (SMALL_UNET, {"output": 4}, "not a rayspin weight file"),
        (SMALL_UNET, {"config": {"architecture": "v-net"}}, r"w\.safetensors: architecture: unknown value 'v-net'"),
        (CONFIGS[0], {"config": {"skip_connections": True}}, r"w\.safetensors: skip_connections: unknown key"),
        (SMALL_UNET, {"config": {"architecture": "encoder-decoder"}}, "the weights don't fit the network"),
        (SuperResolutionNetConfig(scale=4), {"output": {}}, "not a rayspin weight file"),
    ],
)
def test_metadata_that_no_network_has_are_refused(tmp_path, network, facts, message):
    path = tmp_path / "w.safetensors"
    save_weights(path, network.build(), {})
    save_file(load_file(path), path, metadata={"rayspin": json.dumps(weights_info(path) | facts)})
    with pytest.raises(InputError, match=message):
        load_weights(path)


def test_both_architectures_are_field_networks():
    assert isinstance(FieldUNetConfig().build(), FieldUNet)
    with pytest.raises(InputError, match=r"spins: have shape \(2, 4, 16, 16\)"):
        SMALL_UNET.build()(torch.zeros(2, 4, 16, 16))
