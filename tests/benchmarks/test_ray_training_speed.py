"""Time per epoch with Ray Train, relative to a bare loop; `make bench` gives figures."""

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
"""Number of timed epochs of each kind, which alternate because other load on the machine lasts longer than an epoch."""

WARM_UP = 2


def training_config(batch: int) -> TrainingConfig:
    return TrainingConfig(epochs=WARM_UP + ROUNDS, batch_size=batch, learning_rate=0.001)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """800 training and 64 validation samples of 128 x 128, with which an epoch takes seconds."""
    folder = tmp_path_factory.mktemp("data") / "data"
    return datasets.make(datasets.labyrinths(864, 128, splits={"test": 0, "validation": 64}), folder)


def train_bare(dataset: Path, folder: Path, training: TrainingConfig) -> None:
    """Train on tensors in memory without checkpoints; append a line to the metrics file after each epoch."""
    torch.set_num_threads(1)
    folder.mkdir()
    config = EffectiveFieldNetConfig()
    catalog = Catalog.open(dataset)
    train, validation = (
        torch.from_numpy(catalog.reader(split).read(np.arange(len(catalog.reader(split))))).movedim(-1, 1)
        for split in ("train", "validation")
    )
    network, objective = config.build(), FieldObjective().build(config, catalog.reader("train"))
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    samples = len(train) // training.batch_size * training.batch_size
    with keeping_freed_memory():
        for _ in range(training.epochs):
            network.train()
            for batch in torch.randperm(len(train))[:samples].split(training.batch_size):
                objective.loss(network, Batch(train[batch], ())).backward()
                optimizer.step()
                optimizer.zero_grad()
            network.eval()
            with torch.no_grad():
                for spins_NCYX in validation.split(training.batch_size):
                    objective.figures(network, Batch(spins_NCYX, ()))
            with (folder / METRICS).open("a") as lines:
                lines.write("\n")


def train_by_ray(dataset: Path, folder: Path, training: TrainingConfig, workers: int) -> None:
    """Run the job like `rayspin run`, with an embedded Ray."""
    table = {"dataset": str(dataset), "training": training.to_table(), "resources": {"workers": workers}}
    session = Session(cpus=2)
    try:
        job.run(build(TrainFcn, table, ""), folder, Context(session))
    finally:
        session.close()


class PausedTraining:
    """A process tree that trains and is paused except during the epochs that are requested."""

    def __init__(self, target: Callable[..., None], dataset: Path, folder: Path, *arguments: Any) -> None:
        self._lines = folder / METRICS
        self._tree = ProcessTree(target, dataset, folder, *arguments)
        self._wait_for(WARM_UP)
        self._tree.pause()

    def epoch(self) -> float:
        """Run one epoch, and return its time in seconds, including the files written after it."""
        goal, start = self._epochs() + 1, time.perf_counter()
        self._tree.resume()
        self._wait_for(goal)
        seconds = time.perf_counter() - start
        self._tree.pause()
        return seconds

    def end(self) -> None:
        """Wait until the process ends after its last epoch."""
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
    """Time per epoch of one worker relative to the bare loop, and relative to two workers, with one thread each.

    Each training has an embedded Ray that is paused together with it. Idle Ray processes of another training would make
    two workers 5 % slower, because the workers use all cores.

    The batch size of the 2021 paper is 400.
    """
    if not benchmark.enabled:
        pytest.skip("these trainings are tested in tests/system")
    training = training_config(batch)
    training_runs = [
        PausedTraining(train_bare, dataset, tmp_path / "bare", training),
        PausedTraining(train_by_ray, dataset, tmp_path / "one", training, 1),
        PausedTraining(train_by_ray, dataset, tmp_path / "two", training, 2),
    ]
    seconds: list[list[float]] = []
    benchmark.pedantic(
        lambda: seconds.append([training_run.epoch() for training_run in training_runs]), rounds=ROUNDS, iterations=1
    )
    for training_run in training_runs:
        training_run.end()
    seconds_by_run = np.array(seconds).T
    for name, ratios in (
        ("one over bare", seconds_by_run[1] / seconds_by_run[0]),
        ("one over two", seconds_by_run[1] / seconds_by_run[2]),
    ):
        benchmark.extra_info[name] = [round(float(value), 3) for value in np.percentile(ratios, [25, 50, 75])]
    benchmark.extra_info["seconds of bare, one, two"] = np.round(seconds_by_run, 2).tolist()
