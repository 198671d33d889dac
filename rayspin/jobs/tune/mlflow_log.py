"""A sweep's trials as runs of MLflow, where a group keeps its experiments there."""

from __future__ import annotations

import itertools
import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rayspin.errors import InputError, RunError

_KEY = "rayspin.trial"
_STATE = "rayspin.state"
_AT_ONCE = 1000
"""Figures in a request: MLflow takes no more."""


@dataclass(frozen=True)
class LoggedTrial:
    """What is logged of a trial.

    Attributes:
        name: the hash of its job, by which it is found again.
        state: "done", "stopped" or "failed", and after how many epochs: what differs is logged anew.
        failed: whether MLflow shall call it failed.
        parameters: its point, by dotted key.
        figures: (step, figures by name) of each epoch, or once of a dataset.
        tags: what else is told of it.
    """

    name: str
    state: str
    failed: bool
    parameters: Mapping[str, Any]
    figures: list[tuple[int, Mapping[str, float]]]
    tags: Mapping[str, str]


def mlflow_module() -> Any:
    """MLflow, or the line that says how to get it.

    Raises:
        InputError: it is not installed.
    """
    try:
        import mlflow
    except ImportError:
        raise InputError("mlflow", "MLflow is not installed", "pip install 'rayspin[mlflow]'") from None
    # It tells of every table that it makes.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def log_trials(uri: str, experiment: str, trials: list[LoggedTrial]) -> None:
    """Log trials as runs of an experiment; those that are there as they are now stay untouched.

    Args:
        uri: where MLflow keeps its runs: `http://server:5000`, `sqlite:////path/mlflow.db`.
        experiment: its name, made if it isn't there.
        trials: of the whole sweep.

    Raises:
        InputError: MLflow is not installed.
        RunError: MLflow refuses, or can't be reached.
    """
    mlflow = mlflow_module()
    try:
        with warnings.catch_warnings():
            # Of MLflow's own dealings with its libraries.
            warnings.simplefilter("ignore")
            _log_all(mlflow.MlflowClient(uri), experiment, trials)
    except (mlflow.MlflowException, OSError) as error:
        problem = f"MLflow can't log the trials ({str(error).splitlines()[0]})"
        raise RunError(uri, problem, "the table is written; the same command tries again") from None


def _log_all(client: Any, experiment: str, trials: list[LoggedTrial]) -> None:
    found = client.get_experiment_by_name(experiment)
    number = client.create_experiment(experiment) if found is None else found.experiment_id
    there = {run.data.tags.get(_KEY): run for run in _runs(client, number)}
    for trial in trials:
        before = there.get(trial.name)
        if before is not None and before.data.tags.get(_STATE) == trial.state:
            continue
        if before is not None:
            client.delete_run(before.info.run_id)
        _log(client, number, trial)


def _runs(client: Any, experiment: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment], max_results=_AT_ONCE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _log(client: Any, experiment: str, trial: LoggedTrial) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    tags = {_KEY: trial.name, **trial.tags}
    run = client.create_run(experiment, run_name=trial.name, tags=tags).info.run_id
    client.log_batch(run, params=[Param(key, str(value)) for key, value in trial.parameters.items()])
    metrics = (
        Metric(name, value, now, step)
        for step, figures in trial.figures
        for name, value in figures.items()
        if math.isfinite(value)
    )
    while some := list(itertools.islice(metrics, _AT_ONCE)):
        client.log_batch(run, metrics=some)
    client.set_terminated(run, "FAILED" if trial.failed else "FINISHED")
    # Last of all: a run without it was cut off, and is logged anew.
    client.log_batch(run, tags=[RunTag(_STATE, trial.state)])
