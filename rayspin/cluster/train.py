"""Train a network with Ray Train: data-parallel workers around `rayspin.training.fit`.

All that resumes a training (checkpoint, metrics) is written by `fit` into the run's folder, which every node sees.
Ray Train's own state is thrown away with each run: what it knows would be a second truth.
"""

from __future__ import annotations

import json
import shutil
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic

from rayspin.analysis.figures import draw_curves
from rayspin.cluster.session import Session, usable_cpus
from rayspin.cluster.stage import Context, Plan, Stage, build_stage
from rayspin.config import Config
from rayspin.errors import InputError, RunError
from rayspin.progress import Track
from rayspin.rundir import RunDir, Summary
from rayspin.storage import Catalog

WORKER_RESTARTS = 3
"""How often lost workers are replaced before the run fails; each time it goes on from the last checkpoint."""


class Resources(Config):
    """What a training asks of the cluster; no part of what it computes, and free to change when it resumes."""

    workers: int | None = pydantic.Field(default=None, gt=0)
    """Data-parallel workers; by default one on each GPU, or else one on each CPU."""
    cpus_per_worker: int = pydantic.Field(default=1, gt=0)
    gpu: bool = False
    """One GPU for each worker."""


class Training(Stage):
    """What the trainings of both networks share."""

    may_change: ClassVar[frozenset[str]] = frozenset({"training.epochs"})

    dataset: str
    """Folder of a dataset; `@name` for the stage of that name in a pipeline."""
    training: TrainingConfig = TrainingConfig()
    resources: Resources = Resources()

    @abstractmethod
    def objective(self) -> Objective:
        """What is learnt, and the figures it is judged by."""

    @abstractmethod
    def fit(self, dataset: Path, folder: Path, **placement: Any) -> FitResult:
        """Train in this process, one of `world_size`; plain PyTorch, no Ray."""

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """The dataset is there, or made by an earlier stage, and its lattice suits the network."""
        run.check_same(self.identity(), self.may_change)
        self.network.check_size(dataset_shape(self.dataset, run, earlier))

    def plan(self, run: RunDir) -> Plan:
        """Epochs still to go, from a few timed steps here."""

    def run(self, run: RunDir, context: Context) -> Summary:
        """Train over Ray Train until the last epoch, from the last checkpoint on."""
        dataset = run.locate(self.dataset).resolve()
        folder = run.path.resolve()
        with context.progress.track(self.kind, self.training.epochs, "epoch") as track, _watching(folder, track):
            _ray_train(context.session, self, dataset, folder)
        return self.summary(run)
