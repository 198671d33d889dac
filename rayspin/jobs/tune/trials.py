"""Trials: the points of a search space as checked jobs, each known by the hash of its resolved job."""

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

Job = Training | Generate
"""What can be swept."""


@dataclass(frozen=True)
class Trial:
    """One job of a sweep."""

    name: str
    """Hash of the trial's resolved job: its folder."""
    point: SearchPoint
    job: Job
    data: Generate | None = None
    """The job of the dataset that the sweep itself generates for this trial."""
    parent: tuple[str, int] | None = None
    """The trial that this one was branched off, and after how many epochs."""

    @property
    def label(self) -> str:
        """The point as people read it."""
        return label(dict(self.point))

    @property
    def budget(self) -> int:
        """What the whole trial takes: epochs of a training, samples of a dataset."""
        return self.job.training.epochs if isinstance(self.job, Training) else self.job.samples

    def folder(self, run: RunDir) -> RunDir:
        """Where the trial lives in the sweep's folder."""
        return run.child(TRIALS).child(self.name)

    def dataset(self, run: RunDir) -> Path | None:
        """The dataset that the trial reads, if it reads one."""
        if isinstance(self.job, Generate):
            return None
        return run.path / self.job.dataset[1:] if self.data is not None else run.locate(self.job.dataset)


@dataclass(frozen=True)
class TrialBuilder:
    """Makes trials of points: a base job, and the jobs of datasets that the sweep generates itself."""

    base: Table
    datasets: Mapping[str, Table] = field(default_factory=dict)

    @classmethod
    def of(cls, base: Job, datasets: Mapping[str, Generate]) -> TrialBuilder:
        """The maker for a base job as it stands."""
        return cls(base.to_table(), {name: data.to_table() for name, data in datasets.items()})

    def trial(self, point: SearchPoint, parent: tuple[str, int] | None = None) -> Trial:
        """The checked job at a point.

        Raises:
            InputError: a key or a value that the job doesn't take.
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
        for key, value in point:
            first, _, rest = key.partition(".")
            if first == "resources":
                raise InputError(f"space.{key}", "resources change no result", "set them in the base job")
            if first == DATASETS and rest.partition(".")[0] not in self.datasets:
                raise InputError(f"space.{key}", "no such dataset", suggestion(rest.partition(".")[0], self.datasets))
            replace_key(whole, key, copy.deepcopy(value), f"space.{key}")
        return whole, whole.pop(DATASETS)

    def _data(self, job: Job, datasets: Mapping[str, Table]) -> Generate | None:
        if isinstance(job, Generate) or not job.dataset.startswith("@") or job.dataset[1:] not in datasets:
            return None
        try:
            return build(Generate, datasets[job.dataset[1:]], "")
        except InputError as error:
            raise InputError(f"space: {job.dataset[1:]}.{error.where}", error.problem, error.remedy) from None


def sweepable(table: Any, where: str = "") -> Any:
    """The job that a table describes, if it is one that can be swept.

    Raises:
        InputError: it can't be, or something in it is wrong.
    """
    if not isinstance(table, Mapping):
        return table
    try:
        stage: Stage = build_stage(table, "")
    except InputError as error:
        raise InputError(f"{where}: {error.where}".removeprefix(": "), error.problem, error.remedy) from None
    if not isinstance(stage, Training | Generate):
        kinds = [kind for kind in KINDS if issubclass(stage_type(kind, ""), Training | Generate)]
        raise InputError("kind", f"{stage.kind!r} can't be swept", f"sweep one of: {', '.join(kinds)}")
    return stage


def _hash(table: Table) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:12]
