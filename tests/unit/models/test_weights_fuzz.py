"""Whatever was done to a weight file, reading it gives a network or one line, soon and in little memory."""

from __future__ import annotations

import json
import resource
import struct
import tempfile
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rayspin.errors import RayspinError
from rayspin.models import EffectiveFieldNetConfig, SuperResolutionNetConfig, load_weights, save_weights, weights_info

CONFIGS = [
    EffectiveFieldNetConfig(encoder_filters=(2,), decoder_filters=(2,)),
    SuperResolutionNetConfig(scale=4, expanding_filters=(2,), start="fourier"),
]
LONGEST_S = 5.0
MOST_MEMORY_KIB = 300 * 1024

EXTREMES = st.sampled_from(
    [0, -1, 1, 3, 2**14, 2**31, 2**63, 2**64, 10**30, -(10**30), 1e308, 0.5, True, None, "", "4"]
)
JSON = st.recursive(
    EXTREMES | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)
DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.int8,
    torch.uint8, torch.bool, torch.complex64,
]  # fmt: skip
SAFETENSORS_DTYPES = [
    "F64",
    "F32",
    "F16",
    "BF16",
    "F8_E5M2",
    "F8_E8M0",
    "F4",
    "I64",
    "I8",
    "U64",
    "BOOL",
    "C64",
    "F128",
    "",
]


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for number, config in enumerate(CONFIGS):
        save_weights(folder / f"{number}.safetensors", config.build(), {"objective": {"sigma": 1.0}})
    return [folder / f"{number}.safetensors" for number in range(len(CONFIGS))]


def parts(content):
    """The header of a safetensors file as a table, and what follows it."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, rest):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def with_bytes_flipped(draw, content):
    # Half of them in the header, which is a small part of the file.
    end = draw(st.sampled_from([8, len(content) // 4, len(content)]))
    changed = bytearray(content)
    for place in draw(st.lists(st.integers(0, end - 1), min_size=1, max_size=4)):
        changed[place] ^= draw(st.integers(1, 255))
    return bytes(changed)


def cut_or_grown(draw, content):
    if draw(st.booleans()):
        return content[: draw(st.integers(0, len(content) - 1))]
    return content + draw(st.binary(min_size=1, max_size=64))


def with_another_length_of_the_header(draw, content):
    lengths = st.sampled_from([0, 1, 2**20, 2**32, 2**63, 2**64 - 1]) | st.integers(0, len(content))
    return struct.pack("<Q", draw(lengths)) + content[8:]


def with_an_entry_changed(draw, content):
    """Another type, shape or place of a tensor, by its header alone."""
    header, rest = parts(content)
    entry = header[draw(st.sampled_from(sorted(header.keys() - {"__metadata__"})))]
    key = draw(st.sampled_from(sorted(entry)))
    entry[key] = draw(JSON | st.sampled_from(SAFETENSORS_DTYPES) | st.lists(EXTREMES, max_size=4))
    return joined(header, rest)


def with_a_config_changed(draw, content):
    """Another value of the metadata, at any depth."""
    header, rest = parts(content)
    facts = json.loads(header["__metadata__"]["rayspin"])
    table = draw(st.sampled_from([facts, facts["config"], facts["config"].get("degradation", facts["config"])]))
    value = draw(JSON | st.lists(EXTREMES, min_size=1, max_size=70))
    table[draw(st.sampled_from(sorted(table)) | st.text(max_size=3))] = value
    header["__metadata__"]["rayspin"] = json.dumps(facts)
    return joined(header, rest)


def with_a_tensor_changed(draw, path):
    """Other numbers, another type or shape, one more or less: a sound file of the wrong content."""
    tensors, facts = load_file(path), weights_info(path)
    name = draw(st.sampled_from(sorted(tensors)))
    tensor = tensors.pop(name)
    kind = draw(st.sampled_from(["type", "shape", "values", "gone", "renamed"]))
    if kind == "type":
        tensors[name] = tensor.to(draw(st.sampled_from(DTYPES)))
    elif kind == "shape":
        tensors[name] = torch.zeros(draw(st.lists(st.integers(0, 5), max_size=5)))
    elif kind == "values":
        tensors[name] = torch.full_like(tensor, draw(st.sampled_from([0, 1, -1])))
        tensors[name].view(-1)[-1] = draw(st.sampled_from([0, -1, 2**30]))
        if tensor.is_floating_point():
            tensors[name].view(-1)[0] = draw(st.sampled_from([float("nan"), float("inf"), -1e38]))
    elif kind == "renamed":
        tensors[draw(st.text(min_size=1, max_size=5).filter(lambda text: text != "__metadata__"))] = tensor
    save_file(tensors, path, metadata={"rayspin": json.dumps(facts)})


IN_BYTES = [
    with_bytes_flipped, cut_or_grown, with_another_length_of_the_header, with_an_entry_changed, with_a_config_changed,
]  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_weight_file_gives_a_network_or_one_line(originals, data):
    content = data.draw(st.sampled_from(originals)).read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.safetensors"
        change = data.draw(st.sampled_from([*IN_BYTES, None]))
        path.write_bytes(content if change is None else change(data.draw, content))
        if change is None:
            with_a_tensor_changed(data.draw, path)
        started = time.perf_counter()
        told, tensors = str(path), {}
        try:
            tensors = load_weights(path).state_dict()
        except RayspinError as error:
            told = str(error)
        assert told.startswith(str(path))
        assert "\n" not in told
        for name, tensor in tensors.items():
            assert not tensor.is_floating_point() or torch.isfinite(tensor).all(), name
        assert time.perf_counter() - started < LONGEST_S
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY_KIB
