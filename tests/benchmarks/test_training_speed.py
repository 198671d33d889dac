"""Time of a training step, and what the loader costs beside it. Run with --benchmark-enable for figures."""

import itertools

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


@pytest.mark.benchmark(group="memory order")
@pytest.mark.parametrize("order", ["components last", "components first"])
def test_memory_order(benchmark, order):
    x_NCYX = torch.randn(SAMPLES, 128, 128, 3).movedim(-1, 1)
    network = EffectiveFieldNetConfig().build()
    if order == "components first":
        x_NCYX = x_NCYX.contiguous()
        network.to(memory_format=torch.contiguous_format)
    benchmark(lambda: network(x_NCYX).square().mean().backward())


@pytest.mark.benchmark(group="loader, beside a step of the field network")
@pytest.mark.parametrize("augmentation", ["none", "translations", "symmetries"])
def test_loader(benchmark, augmentation):
    """Reading and augmenting a batch, though nothing of it were hidden behind the step."""
    loader = Loader(_Random(), 0, augmentation, torch.device("cpu"))
    benchmark(lambda: list(loader.batches([np.arange(SAMPLES)], epoch=1)))


@pytest.mark.benchmark(group="an epoch of one batch")
def test_bare_loop(benchmark):
    objective, config = EXPERIMENTS["field"]
    source = _Random()
    task, network = objective.build(config, source), config.build()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    [batch] = Loader(source, 0, "none", torch.device("cpu")).batches([np.arange(SAMPLES)], epoch=1)

    def step():
        optimizer.zero_grad()
        task.loss(network, batch).backward()
        optimizer.step()

    benchmark(step)


@pytest.mark.benchmark(group="an epoch of one batch")
def test_fit(benchmark, tmp_path):
    """Training alone, without validation and checkpoint, which `extra_info` leaves out by its own clock."""
    objective, config = EXPERIMENTS["field"]
    source = _Random()
    folders = (tmp_path / str(number) for number in itertools.count())
    training = TrainingConfig(epochs=4, batch_size=SAMPLES)
    seconds = []

    def run():
        history = fit(objective, config, training, source, source, next(folders)).history
        seconds.extend(SAMPLES / line["samples_per_second"] for line in history[1:])

    benchmark.pedantic(run, rounds=3)
    benchmark.extra_info["seconds_a_step"] = float(np.median(seconds))
