"""Weights that can't be used are refused, with the tensor's name, wherever they come in or go out."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rayspin.errors import InputError
from rayspin.models import EffectiveFieldNetConfig, SuperResolutionNetConfig, load_weights, save_weights, weights_info
from rayspin.models.onnx import export_onnx

CONFIG = EffectiveFieldNetConfig(encoder_filters=(2,), decoder_filters=(2,))


def damaged(path, change):
    """A weight file whose tensors were changed after it was written."""
    save_weights(path, CONFIG.build(), {})
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"rayspin": json.dumps(weights_info(path))})
    return path


def set_all(value):
    def change(tensors):
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor.fill_(value)

    return change


def set_one(name, value):
    def change(tensors):
        tensors[name].view(-1)[-1] = value

    return change


def cast(name, dtype):
    def change(tensors):
        tensors[name] = tensors[name].to(dtype)

    return change


CHANGES = {
    "all NaN": (set_all(float("nan")), "are invalid (decoder.0.0.weight holds NaN or infinity)"),
    "one NaN": (set_one("last.bias", float("nan")), "are invalid (last.bias holds NaN or infinity)"),
    "infinity": (
        set_one("encoder.0.1.running_mean", float("inf")),
        "are invalid (encoder.0.1.running_mean holds NaN",
    ),
    "negative variance": (
        set_one("encoder.0.1.running_var", -1.0),
        "(encoder.0.1.running_var holds a negative variance",
    ),
    "integers": (cast("last.weight", torch.int32), "don't fit the network (last.weight has type torch.int32, not"),
    "truths": (cast("last.weight", torch.bool), "don't fit the network (last.weight has type torch.bool, not"),
    "complex numbers": (cast("last.weight", torch.complex64), "(last.weight has type torch.complex64, not"),
    "a real count": (cast("encoder.0.1.num_batches_tracked", torch.float32), "has type torch.float32, not torch.int64"),
    "a tensor less": (lambda tensors: tensors.pop("last.bias"), "don't fit the network (last.bias is missing)"),
    "a tensor more": (
        lambda tensors: tensors.update(more=torch.zeros(2)),
        "don't fit the network (more belongs to no layer)",
    ),
    "another shape": (
        lambda tensors: tensors.update({"last.bias": torch.zeros(4)}),
        "don't fit the network (last.bias has shape (4,), not (3,))",
    ),
    "too large for float32": (
        lambda tensors: tensors.update({"last.bias": torch.full((3,), 1e300, dtype=torch.float64)}),
        "are invalid (last.bias holds NaN or infinity)",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_weight_file_that_can_not_be_used_is_refused_with_the_tensor_at_fault(tmp_path, case):
    change, message = CHANGES[case]
    path = damaged(tmp_path / "w.safetensors", change)
    with pytest.raises(InputError) as error:
        load_weights(path)
    assert str(error.value).startswith(f"{path}: the weights ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_real_numbers_of_other_precision_are_taken(tmp_path, dtype):
    path = damaged(tmp_path / "w.safetensors", cast("last.weight", dtype))
    assert {p.dtype for p in load_weights(path).parameters()} == {torch.float32}


@pytest.mark.parametrize("filters", [[2**14] * 64, [10**30], [2**14], [1] * 65])
def test_a_config_that_asks_for_more_than_the_file_has_fills_no_memory(tmp_path, filters):
    path = tmp_path / "w.safetensors"
    save_weights(path, CONFIG.build(), {})
    facts = weights_info(path)
    facts["config"] |= {"encoder_filters": filters, "decoder_filters": filters}
    save_file(load_file(path), path, metadata={"rayspin": json.dumps(facts)})
    with pytest.raises(InputError, match=r"don't fit the network|filters"):
        load_weights(path)


@pytest.mark.parametrize("depth", [200, 600, 200_000])
def test_metadata_nested_without_end_are_refused(tmp_path, depth):
    path = tmp_path / "w.safetensors"
    text = json.dumps({"network": "effective-field", "config": {"encoder_filters": "HERE"}, "provenance": {}})
    save_file({"x": torch.zeros(2)}, path, metadata={"rayspin": text.replace('"HERE"', "[" * depth + "]" * depth)})
    with pytest.raises(InputError) as error:
        load_weights(path)
    assert len(str(error.value)) < 1000


def test_a_network_that_can_not_be_used_is_neither_saved_nor_exported(tmp_path):
    network = CONFIG.build()
    with torch.no_grad():
        network.last.weight[0, 0, 0, 0] = float("nan")
    for write in (lambda path: save_weights(path, network, {}), lambda path: export_onnx(path, network, (4, 4))):
        with pytest.raises(InputError, match=r"network: the weights are invalid \(last\.weight holds NaN"):
            write(tmp_path / "w")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("network", [None, "w.safetensors", torch.nn.Linear(2, 2), CONFIG])
def test_what_is_no_network_is_neither_saved_nor_exported(tmp_path, network):
    for write in (lambda path: save_weights(path, network, {}), lambda path: export_onnx(path, network, (4, 4))):
        with pytest.raises(InputError, match=r"network: .* is not a network; give one"):
            write(tmp_path / "w")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (
            EffectiveFieldNetConfig(),
            (24, 32),
            "size: the network's stride of 16 doesn't divide 24 x 32 sites; use",
        ),
        (EffectiveFieldNetConfig(), 24, "size: the network's stride of 16 doesn't divide 24 x 24 sites"),
        (EffectiveFieldNetConfig(), (0, 16), "size: 0 x 16 is out of range"),
        (EffectiveFieldNetConfig(), (16.0, 16), "size: .* is not a lattice size"),
        (EffectiveFieldNetConfig(), "16", "size: '16' is not a lattice size"),
        (SuperResolutionNetConfig(scale=4), (8, -8), "size: 8 x -8 is out of range"),
    ],
)
def test_an_export_for_a_size_that_the_network_does_not_take_is_refused(tmp_path, config, shape, message):
    with pytest.raises(InputError, match=f"^{message}"):
        export_onnx(tmp_path / "network.onnx", config.build(), shape)
    assert not list(tmp_path.iterdir())


def test_a_path_as_a_text_and_provenance_of_numpy_are_written(tmp_path):
    network = CONFIG.build()
    provenance = {"loss": np.float32(0.5), "sizes": np.array([4, 4]), "from": Path("runs/train")}
    save_weights(str(tmp_path / "w.safetensors"), network, provenance)
    assert weights_info(str(tmp_path / "w.safetensors"))["provenance"] == {
        "loss": 0.5,
        "sizes": [4, 4],
        "from": "runs/train",
    }
    back = load_weights(str(tmp_path / "w.safetensors")).state_dict()
    assert all(torch.equal(back[name], tensor) for name, tensor in copy.deepcopy(network).state_dict().items())
