"""Trials: the points of a search space as checked jobs. A trial is named by the hash of its resolved job."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayspin.config import build, replace_key, suggestion
from rayspin.errors import InputError
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.registry import KINDS, build_stage, stage_type
from rayspin.jobs.stage import Stage
from rayspin.jobs.train.job import Training
from rayspin.jobs.tune.space import SearchPoint, label
from rayspin.rundir import RunDir, Table

TRIALS = "trials"
DATASETS = "datasets"
ARCHITECTURE = "architecture"

Job = Training | Generate
"""Jobs that can be swept."""


@dataclass(frozen=True)
class Trial:
    """One job of a sweep.

    Attributes:
        name: hash of the resolved job; also the name of the trial's folder.
        point: point in the search space.
        job: job at this point.
        data: job of the dataset, if the sweep generates it.
        parent: for a branch, (name of the trial that it continues, number of epochs of that trial).
    """

    name: str
    point: SearchPoint
    job: Job
    data: Generate | None = None
    parent: tuple[str, int] | None = None

    @property
    def label(self) -> str:
        """The point as text."""
        return label(dict(self.point))

    @property
    def budget(self) -> int:
        """Total number of epochs (training) or samples (dataset)."""
        return self.job.training.epochs if isinstance(self.job, Training) else self.job.samples

    def folder(self, run: RunDir) -> RunDir:
        """Return the folder of the trial inside the folder of the sweep."""
        return run.child(TRIALS).child(self.name)

    def dataset(self, run: RunDir) -> Path | None:
        """Return the folder of the dataset that the trial reads; None if the trial generates a dataset."""
        if isinstance(self.job, Generate):
            return None
        return run.path / self.job.dataset[1:] if self.data is not None else run.locate(self.job.dataset)


@dataclass(frozen=True)
class TrialBuilder:
    """Builds trials from points.

    Attributes:
        base: table of the base job.
        datasets: tables of the datasets that the sweep generates, by name.
    """

    base: Table
    datasets: Mapping[str, Table] = field(default_factory=dict)

    @classmethod
    def of(cls, base: Job, datasets: Mapping[str, Generate]) -> TrialBuilder:
        """Return a builder for validated jobs."""
        return cls(base.to_table(), {name: data.to_table() for name, data in datasets.items()})

    def trial(self, point: SearchPoint, parent: tuple[str, int] | None = None) -> Trial:
        """Build the trial at a point.

        Args:
            point: (dotted key, value) for each axis.
            parent: for a branch, the name of its parent and the parent's number of epochs.

        Raises:
            InputError: the job does not accept a key or a value.
        """
        table, datasets = self._at(point)
        job = sweepable(table, "space")
        data = self._data(job, datasets)
        if data is not None:
            job = job.with_updates(dataset=f"@{DATASETS}/{_hash(data.identity())}")
        origin = {} if parent is None else {"parent": parent[0], "after": parent[1]}
        return Trial(_hash(job.identity() | origin), point, job, data, parent)

    def _at(self, point: SearchPoint) -> tuple[Table, dict[str, Table]]:
        whole = {**copy.deepcopy(self.base), DATASETS: copy.deepcopy(dict(self.datasets))}
        # The architecture first, since it decides which other keys its table has.
        for key, value in sorted(point, key=lambda axis: not axis[0].endswith(f".{ARCHITECTURE}")):
            first, _, rest = key.partition(".")
            if first == "resources":
                raise InputError(f"space.{key}", "resources do not change results", "set them in the base job")
            if first == DATASETS and rest.partition(".")[0] not in self.datasets:
                raise InputError(f"space.{key}", "no such dataset", suggestion(rest.partition(".")[0], self.datasets))
            replace_key(whole, key, copy.deepcopy(value), f"space.{key}")
            if rest == ARCHITECTURE and value != self.base.get(first, {}).get(ARCHITECTURE, value):
                # The keys of the base job belong to another architecture; this one starts from its defaults.
                whole[first] = {ARCHITECTURE: value}
        return whole, whole.pop(DATASETS)

    def _data(self, job: Job, datasets: Mapping[str, Table]) -> Generate | None:
        if isinstance(job, Generate) or not job.dataset.startswith("@") or job.dataset[1:] not in datasets:
            return None
        try:
            return build(Generate, datasets[job.dataset[1:]], "")
        except InputError as error:
            raise InputError(f"space: {job.dataset[1:]}.{error.where}", error.problem, error.remedy) from None


def sweepable(table: Any, where: str = "") -> Any:
    """Build the base job that a table describes.

    Args:
        table: keys and values of the job.
        where: name of the table in error messages.

    Raises:
        InputError: the table is invalid, or its kind of job cannot be swept.
    """
    if not isinstance(table, Mapping):
        return table
    try:
        stage: Stage = build_stage(table, "")
    except InputError as error:
        raise InputError(f"{where}: {error.where}".removeprefix(": "), error.problem, error.remedy) from None
    if not isinstance(stage, Training | Generate):
        kinds = [kind for kind in KINDS if issubclass(stage_type(kind, ""), Training | Generate)]
        raise InputError("kind", f"a job of kind {stage.kind!r} cannot be swept", f"use one of: {', '.join(kinds)}")
    return stage


def _hash(table: Table) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:12]
