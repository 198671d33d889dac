"""Time of a training step beside plain PyTorch's, and what the loader costs. `--benchmark-enable` gives figures.

Each benchmark is a plain test as well. What was measured: NOTES.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rayspin import job
from rayspin.cluster.generate import Generate, make_here
from rayspin.cluster.session import Session
from rayspin.cluster.train import TrainFcn
from rayspin.config import build
from rayspin.job import Context
from rayspin.models import EffectiveFieldNetConfig, SuperResolutionNetConfig
from rayspin.models.layers import PeriodicConv, PeriodicMaxPool
from rayspin.physics import LABYRINTH
from rayspin.rundir import RunDir
from rayspin.storage import Catalog
from rayspin.training import FieldObjective, TrainingConfig
from rayspin.training.checkpoint import METRICS
from rayspin.training.data import Batch, Loader
from rayspin.training.memory import keeping_freed_memory
from tests.benchmarks.turns import ProcessTree

SAMPLES = 16
NETWORKS = {
    "field": (EffectiveFieldNetConfig(), (128, 128)),
    "super-resolution-x4": (SuperResolutionNetConfig(scale=4), (32, 32)),
    "super-resolution-x8": (SuperResolutionNetConfig(scale=8), (16, 16)),
    "super-resolution-x16": (SuperResolutionNetConfig(scale=16), (8, 8)),
}


class _Random:
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


def as_plain(network):
    """The same network of PyTorch's own layers, as one writes it first: circular padding, components first."""
    for name, layer in network.named_children():
        if isinstance(layer, PeriodicConv):
            bias = layer.bias is not None
            plain = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, padding_mode="circular", bias=bias)
            plain.load_state_dict({key: value.contiguous() for key, value in layer.state_dict().items()})
            setattr(network, name, nn.Sequential(nn.Upsample(scale_factor=2), plain) if layer.upsampling else plain)
        elif isinstance(layer, PeriodicMaxPool):
            setattr(network, name, nn.Sequential(nn.CircularPad2d(1), nn.MaxPool2d(3, stride=2)))
        else:
            as_plain(layer)
    return network.to(memory_format=torch.contiguous_format)


def step_of(network, spins_NCYX, precision=torch.float32):
    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            maps_NCYX = network(spins_NCYX)
        loss = maps_NCYX.float().square().mean()
        loss.backward()
        return loss.item()

    return step


def make_step(name, variant):
    config, shape = NETWORKS[name]
    torch.manual_seed(1)
    network = config.build()
    spins_NCYX = torch.randn(SAMPLES, *shape, 3).movedim(-1, 1)
    if variant.startswith("plain"):
        network = as_plain(network)
        memory = torch.channels_last if variant == "plain, components last" else torch.contiguous_format
        network, spins_NCYX = network.to(memory_format=memory), spins_NCYX.contiguous(memory_format=memory)
    if variant == "compiled":
        network.compile()
    return step_of(network, spins_NCYX, torch.bfloat16 if variant == "bfloat16" else torch.float32)


@pytest.mark.parametrize("variant", ["as it is", "plain", "plain, components last", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_step(benchmark, name, variant):
    """Forward and backward; whatever is faster than "as it is" and gives the same should be the default."""
    benchmark.group = f"{name}: {SAMPLES} samples"
    expected = make_step(name, "as it is")()
    step = make_step(name, variant)
    assert step() == pytest.approx(expected, rel=2e-2 if variant == "bfloat16" else 1e-4)
    benchmark(step)
    if benchmark.enabled:
        benchmark.extra_info["samples_per_second"] = round(SAMPLES / benchmark.stats.stats.median, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["field", "super-resolution-x4"])
def test_compiled_step(benchmark, name):
    if not benchmark.enabled:
        pytest.skip("kernels of this size take minutes to make; test_loop.py has a small compiled network")
    test_step(benchmark, name, "compiled")


@pytest.mark.parametrize("augmentation", ["none", "translations", "symmetries"])
def test_loader(benchmark, augmentation):
    """Reading and augmenting a batch, though nothing of it were hidden behind the step that it is compared with."""
    source = _Random()
    loader = Loader(source, 0, augmentation, torch.device("cpu"))
    load = lambda: list(loader.batches([np.arange(SAMPLES)], epoch=1))  # noqa: E731
    config, _ = NETWORKS["field"]
    task, network = FieldObjective().build(config, source), config.build()
    [batch] = load()
    assert batch.spins_NCYX.shape == (SAMPLES, 3, 128, 128)
    benchmark(load)
    if benchmark.enabled:
        seconds = []
        for _ in range(10):
            start = time.perf_counter()
            task.loss(network, batch).backward()
            seconds.append(time.perf_counter() - start)
        benchmark.extra_info["part_of_a_step"] = round(benchmark.stats.stats.median / np.median(seconds), 3)


ROUNDS = 8
"""Epochs of each kind that are timed, in turns: what other tenants do to a machine lasts longer than one of them."""

WARM_UP = 2


def training_of(batch: int) -> TrainingConfig:
    return TrainingConfig(epochs=WARM_UP + ROUNDS, batch_size=batch, learning_rate=0.001)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """800 samples to train on and 64 to watch, 128 x 128: some seconds an epoch."""
    folder = tmp_path_factory.mktemp("data") / "data"
    table = {"samples": 864, "size": 128, "hamiltonian": "labyrinth", "splits": {"test": 0, "validation": 64}}
    data = build(Generate, {**table, "schedule": {"sweeps": 20, "quench_sweeps": 20}}, "")
    with RunDir.at(folder).claimed(data.identity()):
        make_here(data, folder)
    return folder


def train_bare(dataset: Path, folder: Path, training: TrainingConfig) -> None:
    """A loop over tensors in memory, without checkpoints; a line in the folder for each epoch. Freed memory is kept."""
    torch.set_num_threads(1)
    folder.mkdir()
    config, _ = NETWORKS["field"]
    catalog = Catalog.open(dataset)
    train, validation = (
        torch.from_numpy(catalog.reader(split).read(np.arange(len(catalog.reader(split))))).movedim(-1, 1)
        for split in ("train", "validation")
    )
    network, task = config.build(), FieldObjective().build(config, catalog.reader("train"))
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    used = len(train) // training.batch_size * training.batch_size
    with keeping_freed_memory():
        for _ in range(training.epochs):
            network.train()
            for chosen in torch.randperm(len(train))[:used].split(training.batch_size):
                task.loss(network, Batch(train[chosen], ())).backward()
                optimizer.step()
                optimizer.zero_grad()
            network.eval()
            with torch.no_grad():
                for spins_NCYX in validation.split(training.batch_size):
                    task.figures(network, Batch(spins_NCYX, ()))
            with (folder / METRICS).open("a") as lines:
                lines.write("\n")


def train_by_ray(dataset: Path, folder: Path, training: TrainingConfig, workers: int) -> None:
    """The job as `rayspin run` does it, with a Ray of its own."""
    table = {"dataset": str(dataset), "training": training.to_table(), "resources": {"workers": workers}}
    session = Session(cpus=2)
    try:
        job.run(build(TrainFcn, table, ""), folder, Context(session))
    finally:
        session.close()


class InTurns:
    """A process tree that trains, and stands still but for the epoch that is asked for."""

    def __init__(self, target: Callable[..., None], dataset: Path, folder: Path, *arguments: Any) -> None:
        self._lines = folder / METRICS
        self._tree = ProcessTree(target, dataset, folder, *arguments)
        self._wait_for(WARM_UP)
        self._tree.pause()

    def epoch(self) -> float:
        """Seconds of one epoch, all that is written after it included."""
        goal, start = self._epochs() + 1, time.perf_counter()
        self._tree.resume()
        self._wait_for(goal)
        seconds = time.perf_counter() - start
        self._tree.pause()
        return seconds

    def end(self) -> None:
        """All its epochs are done: let it go home."""
        self._tree.end()

    def _wait_for(self, epochs: int) -> None:
        while self._epochs() < epochs:
            assert self._tree.alive, "the training ended too early"
            time.sleep(0.01)

    def _epochs(self) -> int:
        return self._lines.read_bytes().count(b"\n") if self._lines.exists() else 0


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("batch", [64, 400])
def test_epochs_of_ray_train(benchmark, dataset, tmp_path, batch):
    """Per epoch: one worker beside the bare loop, and two workers beside one, each worker with one thread.

    Each has a Ray of its own that stands still with it: idle processes of another training's would cost the two workers
    a twentieth, as they leave no core for them.

    Batches of 400 are those of the 2021 paper.
    """
    if not benchmark.enabled:
        pytest.skip("what it runs is tested elsewhere (tests/cluster/test_train.py)")
    training = training_of(batch)
    kinds = [
        InTurns(train_bare, dataset, tmp_path / "bare", training),
        InTurns(train_by_ray, dataset, tmp_path / "one", training, 1),
        InTurns(train_by_ray, dataset, tmp_path / "two", training, 2),
    ]
    seconds: list[list[float]] = []
    benchmark.pedantic(lambda: seconds.append([kind.epoch() for kind in kinds]), rounds=ROUNDS, iterations=1)
    for kind in kinds:
        kind.end()
    by_kind = np.array(seconds).T
    for name, ratios in (("one over bare", by_kind[1] / by_kind[0]), ("one over two", by_kind[1] / by_kind[2])):
        benchmark.extra_info[name] = [round(float(value), 3) for value in np.percentile(ratios, [25, 50, 75])]
    benchmark.extra_info["seconds of bare, one, two"] = np.round(by_kind, 2).tolist()
