"""Log the trials of a sweep as MLflow runs."""

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
"""Maximum number of metrics, and of runs, in one MLflow request."""


@dataclass(frozen=True)
class LoggedTrial:
    """Content of the MLflow run of a trial.

    Attributes:
        name: name of the trial, which identifies its MLflow run.
        state: "done", "stopped" or "failed", and the number of epochs; a run with another state is replaced.
        failed: whether the MLflow run gets the status FAILED.
        parameters: point of the trial by dotted key.
        figures: (step, metrics by name) of each epoch, or a single entry for a dataset.
        tags: additional tags.
    """

    name: str
    state: str
    failed: bool
    parameters: Mapping[str, Any]
    figures: list[tuple[int, Mapping[str, float]]]
    tags: Mapping[str, str]


def mlflow_module() -> Any:
    """Import MLflow.

    Raises:
        InputError: MLflow is not installed.
    """
    try:
        import mlflow
    except ImportError:
        raise InputError("mlflow", "MLflow is not installed", "pip install 'rayspin[mlflow]'") from None
    # By default, MLflow logs a message for each database table that it creates.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def log_trials(uri: str, experiment: str, trials: list[LoggedTrial]) -> None:
    """Log trials as runs of an experiment. Runs that are up to date are not changed.

    Args:
        uri: MLflow tracking URI: `http://server:5000`, `sqlite:////path/mlflow.db`.
        experiment: name of the experiment; it is created if it does not exist.
        trials: all trials of the sweep.

    Raises:
        InputError: MLflow is not installed.
        RunError: MLflow reports an error or cannot be reached.
    """
    mlflow = mlflow_module()
    try:
        with warnings.catch_warnings():
            # Ignore warnings that MLflow causes in its dependencies.
            warnings.simplefilter("ignore")
            _log_all(mlflow.MlflowClient(uri), experiment, trials)
    except (mlflow.MlflowException, OSError) as error:
        problem = f"MLflow cannot log the trials ({str(error).splitlines()[0]})"
        raise RunError(uri, problem, "the table of trials is written; run the same command again to log them") from None


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
    # The state is written last: a run without it is incomplete and will be replaced.
    client.log_batch(run, tags=[RunTag(_STATE, trial.state)])
