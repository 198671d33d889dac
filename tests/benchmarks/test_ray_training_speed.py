"""Epochs of Ray Train beside those of a bare loop; `make bench` gives figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rayspin import job
from rayspin.config import build
from rayspin.execution.session import Session
from rayspin.job import Context
from rayspin.jobs.train.job import TrainFcn
from rayspin.models import EffectiveFieldNetConfig
from rayspin.storage import Catalog
from rayspin.training import FieldObjective, TrainingConfig
from rayspin.training.checkpoint import METRICS
from rayspin.training.data import Batch
from rayspin.training.memory import keeping_freed_memory
from tests.support import datasets
from tests.support.turns import ProcessTree

ROUNDS = 8
"""Epochs of each kind that are timed, in turns: what other tenants do to a machine lasts longer than one of them."""

WARM_UP = 2


def training_of(batch: int) -> TrainingConfig:
    return TrainingConfig(epochs=WARM_UP + ROUNDS, batch_size=batch, learning_rate=0.001)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """800 samples to train on and 64 to watch, 128 x 128: some seconds an epoch."""
    folder = tmp_path_factory.mktemp("data") / "data"
    return datasets.make(datasets.labyrinths(864, 128, splits={"test": 0, "validation": 64}), folder)


def train_bare(dataset: Path, folder: Path, training: TrainingConfig) -> None:
    """A loop over tensors in memory, without checkpoints; a line in the folder for each epoch. Freed memory is kept."""
    torch.set_num_threads(1)
    folder.mkdir()
    config = EffectiveFieldNetConfig()
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


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("batch", [64, 400])
def test_epochs_of_ray_train(benchmark, dataset, tmp_path, batch):
    """Per epoch: one worker beside the bare loop, and two workers beside one, each worker with one thread.

    Each has a Ray of its own that stands still with it: idle processes of another training's would cost the two workers
    a twentieth, as they leave no core for them.

    Batches of 400 are those of the 2021 paper.
    """
    if not benchmark.enabled:
        pytest.skip("what it runs is tested elsewhere (tests/system)")
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
