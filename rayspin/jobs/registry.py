"""The kinds of job. A new kind needs a line here and a package of its own, and no change elsewhere.

What belongs to a kind is imported when it is asked for, so that a dataset can be generated without PyTorch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayspin.config import build, suggestion
from rayspin.errors import InputError
from rayspin.jobs.stage import Stage
from rayspin.rundir import RunDir, Table


@dataclass(frozen=True)
class Kind:
    """Where the parts of a kind of job are, as "module:name".

    Attributes:
        stage: its class.
        progress: a function of a run folder and its job that returns rows of `rayspin status`, read from files; empty
            if there is none.
    """

    stage: str
    progress: str = ""


KINDS = {
    "generate": Kind("rayspin.jobs.generate.job:Generate", "rayspin.jobs.generate.progress:progress"),
    "train-fcn": Kind("rayspin.jobs.train.job:TrainFcn", "rayspin.jobs.train.progress:progress"),
    "train-sr": Kind("rayspin.jobs.train.job:TrainSr", "rayspin.jobs.train.progress:progress"),
    "evaluate-fcn": Kind("rayspin.jobs.evaluate.estimation:EvaluateFcn"),
    "evaluate-sr": Kind("rayspin.jobs.evaluate.super_resolution:EvaluateSr"),
    "recursive": Kind("rayspin.jobs.evaluate.recursive:Recursive"),
    "tune": Kind("rayspin.jobs.tune.job:Tune", "rayspin.jobs.tune.progress:progress"),
    "pipeline": Kind("rayspin.jobs.pipeline:Pipeline", "rayspin.jobs.pipeline:progress"),
}


def build_stage(table: Mapping[str, Any], where: str) -> Stage:
    """The stage that a table of a job file describes, by its `kind`.

    Args:
        table: keys and values.
        where: what an error calls the table.

    Raises:
        InputError: an unknown kind, or anything wrong in its keys and values.
    """
    kind = table.get("kind")
    if not isinstance(kind, str):
        raise InputError(_kind(where), "missing key", "add one of: " + ", ".join(KINDS))
    return build(stage_type(kind, where), table, where)


def stage_type(kind: str, where: str) -> type[Stage]:
    """The class of a kind of job.

    Args:
        kind: its name in job files.
        where: what an error calls the table that names it.

    Raises:
        InputError: there is no such kind.
    """
    if kind not in KINDS:
        raise InputError(_kind(where), f"unknown value {kind!r}", suggestion(kind, KINDS))
    found: type[Stage] = _named(KINDS[kind].stage)
    return found


def progress(run: RunDir, job: Table) -> dict[str, str]:
    """How far the run in a folder is: rows of `rayspin status`, read from files.

    Args:
        run: the folder.
        job: the resolved job that it was made for.
    """
    kind = KINDS.get(job["kind"])
    rows: dict[str, str] = _named(kind.progress)(run, job) if kind and kind.progress else {}
    return rows


def _named(reference: str) -> Any:
    module, name = reference.split(":")
    return getattr(importlib.import_module(module), name)


def _kind(where: str) -> str:
    return f"{where}: kind" if where else "kind"
