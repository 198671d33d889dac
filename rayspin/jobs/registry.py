"""Registry of the kinds of job. To add a kind, add an entry to `KINDS` and a package that implements it.

The code of a kind is imported on first use, so that a dataset can be generated without PyTorch.
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
    """Import paths of the parts of a kind of job, as "module:name".

    Attributes:
        stage: subclass of `Stage`.
        progress: function that takes a run folder and its job and returns rows of `rayspin status`, read from files;
            empty if the kind has none.
    """

    stage: str
    progress: str = ""


_EVALUATED = "rayspin.jobs.evaluate.ledger:progress"

KINDS = {
    "generate": Kind("rayspin.jobs.generate.job:Generate", "rayspin.jobs.generate.progress:progress"),
    "microscope-images": Kind("rayspin.jobs.microscope.job:MicroscopeImages"),
    "train-fcn": Kind("rayspin.jobs.train.job:TrainFcn", "rayspin.jobs.train.progress:progress"),
    "train-sr": Kind("rayspin.jobs.train.job:TrainSr", "rayspin.jobs.train.progress:progress"),
    "evaluate-fcn": Kind("rayspin.jobs.evaluate.estimation:EvaluateFcn", _EVALUATED),
    "evaluate-sr": Kind("rayspin.jobs.evaluate.super_resolution:EvaluateSr", _EVALUATED),
    "cross-feeding": Kind("rayspin.jobs.evaluate.cross_feeding:CrossFeeding", _EVALUATED),
    "noise-response": Kind("rayspin.jobs.evaluate.noise_response:NoiseResponse", _EVALUATED),
    "energy-trace": Kind("rayspin.jobs.evaluate.energy_trace:EnergyTrace", _EVALUATED),
    "restoration": Kind("rayspin.jobs.evaluate.restoration:Restoration", _EVALUATED),
    "generation": Kind("rayspin.jobs.evaluate.generation:Generation", _EVALUATED),
    "external-field": Kind("rayspin.jobs.evaluate.external_field:ExternalField", _EVALUATED),
    "microscope": Kind("rayspin.jobs.evaluate.microscope:Microscopy"),
    "reconstruct": Kind("rayspin.jobs.reconstruct.job:Reconstruct", "rayspin.jobs.reconstruct.ledger:progress"),
    "robustness": Kind(
        "rayspin.jobs.reconstruct.robustness:Robustness", "rayspin.jobs.reconstruct.robustness:progress"
    ),
    "tune": Kind("rayspin.jobs.tune.job:Tune", "rayspin.jobs.tune.progress:progress"),
    "pipeline": Kind("rayspin.jobs.pipeline:Pipeline", "rayspin.jobs.pipeline:progress"),
}


def build_stage(table: Mapping[str, Any], where: str) -> Stage:
    """Build the stage that a table of a job file describes; the key `kind` selects its class.

    Args:
        table: keys and values of the stage.
        where: name of the table in error messages.

    Raises:
        InputError: the kind is missing or unknown, or a key or a value is invalid.
    """
    kind = table.get("kind")
    if not isinstance(kind, str):
        raise InputError(_kind(where), "missing key", "add one of: " + ", ".join(KINDS))
    return build(stage_type(kind, where), table, where)


def stage_type(kind: str, where: str) -> type[Stage]:
    """Return the class of a kind of job.

    Args:
        kind: value of `kind` in a job file.
        where: name of the table in error messages.

    Raises:
        InputError: the kind is unknown.
    """
    if kind not in KINDS:
        raise InputError(_kind(where), f"unknown value {kind!r}", suggestion(kind, KINDS))
    found: type[Stage] = _named(KINDS[kind].stage)
    return found


def progress(run: RunDir, job: Table) -> dict[str, str]:
    """Return the rows of `rayspin status` that the kind of a run adds, read from files.

    Args:
        run: folder of the run.
        job: resolved job of the folder.
    """
    kind = KINDS.get(job["kind"])
    rows: dict[str, str] = _named(kind.progress)(run, job) if kind and kind.progress else {}
    return rows


def _named(reference: str) -> Any:
    module, name = reference.split(":")
    return getattr(importlib.import_module(module), name)


def _kind(where: str) -> str:
    return f"{where}: kind" if where else "kind"
