"""Time of a training step, and what the loader costs beside it. Run with --benchmark-enable for figures."""

import time

import numpy as np
import pytest
import torch

from rayspin.models import EffectiveFieldNetConfig, SuperResolutionNetConfig
from rayspin.physics import LABYRINTH
from rayspin.training import FieldObjective, SuperResolutionObjective, TrainingConfig, fit
from rayspin.training.data import Loader

SAMPLES = 16
EXPERIMENTS = {
    "field": (FieldObjective(), EffectiveFieldNetConfig()),
    "super-resolution-x4": (SuperResolutionObjective(), SuperResolutionNetConfig(scale=4)),
    "super-resolution-x8": (SuperResolutionObjective(), SuperResolutionNetConfig(scale=8)),
}


class _Random:
    hamiltonian = LABYRINTH
    shape = (128, 128)
    samples = np.arange(SAMPLES)

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


def _step(objective, config, source):
    task, network = objective.build(config, source), config.build()
    [batch] = Loader(source, 0, "none", torch.device("cpu")).batches([np.arange(SAMPLES)], epoch=1)

    def step():
        network.zero_grad()
        task.loss(network, batch).backward()

    return step


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_step(benchmark, name):
    step = _step(*EXPERIMENTS[name], _Random())
    benchmark.extra_info["samples"] = SAMPLES
    benchmark(step)


def test_components_last_is_the_faster_memory_order():
    """Interleaved minima; on the machine it was chosen on the factor is 2."""
    x = torch.randn(SAMPLES, 128, 128, 3).movedim(-1, 1)
    networks = [EffectiveFieldNetConfig().build(), EffectiveFieldNetConfig().build()]
    networks[1].to(memory_format=torch.contiguous_format)
    inputs = [x, x.contiguous()]
    times = [[], []]
    for _ in range(5):
        for network, spins, kept in zip(networks, inputs, times):
            started = time.perf_counter()
            network(spins).square().mean().backward()
            kept.append(time.perf_counter() - started)
    assert min(times[0]) < min(times[1])


@pytest.mark.parametrize("augmentation", ["none", "translations", "symmetries"])
def test_the_loader_costs_less_than_a_twentieth_of_the_step(augmentation):
    """Even if nothing of it were hidden behind the step; interleaved minima of the two."""
    source = _Random()
    step = _step(*EXPERIMENTS["field"], source)
    loader = Loader(source, 0, augmentation, torch.device("cpu"))
    loads, steps = [], []
    for _ in range(5):
        started = time.perf_counter()
        list(loader.batches([np.arange(SAMPLES)], epoch=1))
        middle = time.perf_counter()
        step()
        loads.append(middle - started)
        steps.append(time.perf_counter() - middle)
    print(f"{augmentation}: {min(loads):.4f} s to load, {min(steps):.4f} s to step")
    # A factor of two for a busy machine.
    assert min(loads) < 2 * min(steps) / 20


def test_fit_costs_little_more_than_a_bare_loop(tmp_path):
    """Interleaved minima; on a quiet machine it is 2 % on data in memory."""
    source = _Random()
    objective, config = EXPERIMENTS["field"]
    task, network = objective.build(config, source), config.build()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    [batch] = Loader(source, 0, "none", torch.device("cpu")).batches([np.arange(SAMPLES)], epoch=1)
    fitted, bare = [], []

    def on_epoch(line):
        fitted.append(SAMPLES / line["samples_per_second"])
        started = time.perf_counter()
        optimizer.zero_grad()
        task.loss(network, batch).backward()
        optimizer.step()
        bare.append(time.perf_counter() - started)

    fit(objective, config, TrainingConfig(epochs=12, batch_size=SAMPLES), source, source, tmp_path, on_epoch=on_epoch)
    print(f"{min(fitted):.4f} s in fit, {min(bare):.4f} s bare")
    assert min(fitted) < 1.25 * min(bare)
