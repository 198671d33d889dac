"""Time of a training step relative to plain PyTorch, and of the loader. `--benchmark-enable` gives figures.

Without that option the benchmarks are tests with small sizes. NOTES.md contains measurements.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

from rayspin.models import EffectiveFieldNetConfig, SuperResolutionNetConfig
from rayspin.models.layers import PeriodicConv, PeriodicMaxPool
from rayspin.physics import LABYRINTH
from rayspin.training import FieldObjective
from rayspin.training.data import Loader

SAMPLES = 16
NETWORKS = {
    "field": (EffectiveFieldNetConfig(), (128, 128)),
    "super-resolution-x4": (SuperResolutionNetConfig(scale=4), (32, 32)),
    "super-resolution-x8": (SuperResolutionNetConfig(scale=8), (16, 16)),
    "super-resolution-x16": (SuperResolutionNetConfig(scale=16), (8, 8)),
}


class _RandomSource:
    """A sample source of random unit spins."""

    hamiltonian = LABYRINTH
    shape = (128, 128)
    samples = np.arange(SAMPLES)
    digest = "random"

    def __init__(self):
        vectors = np.random.default_rng(1).normal(size=(SAMPLES, 128, 128, 3))
        self._spins = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)

    def __len__(self):
        return SAMPLES

    def read(self, positions):
        return self._spins[positions]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def with_plain_layers(network):
    """Replace the layers of a network by PyTorch's layers with circular padding and the channels-first layout."""
    for name, layer in network.named_children():
        if isinstance(layer, PeriodicConv):
            bias = layer.bias is not None
            plain = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, padding_mode="circular", bias=bias)
            plain.load_state_dict({key: value.contiguous() for key, value in layer.state_dict().items()})
            setattr(network, name, nn.Sequential(nn.Upsample(scale_factor=2), plain) if layer.upsampling else plain)
        elif isinstance(layer, PeriodicMaxPool):
            setattr(network, name, nn.Sequential(nn.CircularPad2d(1), nn.MaxPool2d(3, stride=2)))
        else:
            with_plain_layers(layer)
    return network.to(memory_format=torch.contiguous_format)


def training_step(network, spins_NCYX, precision=torch.float32):
    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            maps_NCYX = network(spins_NCYX)
        loss = maps_NCYX.float().square().mean()
        loss.backward()
        return loss.item()

    return step


def make_step(name, variant, samples):
    config, shape = NETWORKS[name]
    torch.manual_seed(1)
    network = config.build()
    spins_NCYX = torch.randn(samples, *shape, 3).movedim(-1, 1)
    if variant.startswith("plain"):
        network = with_plain_layers(network)
        memory = torch.channels_last if variant == "plain, components last" else torch.contiguous_format
        network, spins_NCYX = network.to(memory_format=memory), spins_NCYX.contiguous(memory_format=memory)
    if variant == "compiled":
        network.compile()
    return training_step(network, spins_NCYX, torch.bfloat16 if variant == "bfloat16" else torch.float32)


@pytest.mark.parametrize("variant", ["default", "plain", "plain, components last", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_step(benchmark, name, variant):
    """Forward and backward pass. A variant that is faster than "default" and equally accurate should replace it."""
    benchmark.group = f"{name}: {SAMPLES} samples"
    samples = SAMPLES if benchmark.enabled else 2
    expected = make_step(name, "default", samples)()
    step = make_step(name, variant, samples)
    assert step() == pytest.approx(expected, rel=2e-2 if variant == "bfloat16" else 1e-4)
    benchmark(step)
    if benchmark.enabled:
        benchmark.extra_info["samples_per_second"] = round(SAMPLES / benchmark.stats.stats.median, 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["field", "super-resolution-x4"])
def test_compiled_step(benchmark, name):
    if not benchmark.enabled:
        pytest.skip("compilation takes minutes; test_loop.py has a small compiled network")
    test_step(benchmark, name, "compiled")


@pytest.mark.parametrize("augmentation", ["none", "translations", "symmetries"])
def test_loader(benchmark, augmentation):
    """Time to read and augment a batch, as a fraction of a training step, if the two do not overlap."""
    source = _RandomSource()
    loader = Loader(source, 0, augmentation, torch.device("cpu"))
    load = lambda: list(loader.batches([np.arange(SAMPLES)], epoch=1))  # noqa: E731
    config, _ = NETWORKS["field"]
    criterion, network = FieldObjective().build(config, source), config.build()
    [batch] = load()
    assert batch.spins_NCYX.shape == (SAMPLES, 3, 128, 128)
    benchmark(load)
    if benchmark.enabled:
        seconds = []
        for _ in range(10):
            start = time.perf_counter()
            criterion.loss(network, batch).backward()
            seconds.append(time.perf_counter() - start)
        benchmark.extra_info["fraction_of_a_step"] = round(benchmark.stats.stats.median / np.median(seconds), 3)
