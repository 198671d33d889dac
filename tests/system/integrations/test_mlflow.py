"""Logging of the trials of a sweep to MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayspin import job
from rayspin.errors import RunError
from rayspin.job import Context
from rayspin.rundir import RunDir
from rayspin.training import read_metrics
from tests.support.sweeps import BASE, rows, sweep


@pytest.mark.filterwarnings("ignore")  # MLflow causes deprecation warnings of SQLAlchemy.
def test_each_trial_is_logged_once_when_a_sweep_is_extended(context: Context, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri, folder = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "noise"
    client = mlflow.MlflowClient(uri)

    def runs_by_trial() -> dict[str, Any]:
        experiment = client.get_experiment_by_name("noise").experiment_id
        return {run.data.tags["rayspin.trial"]: run for run in client.search_runs([experiment])}

    job.run(sweep(mlflow=uri, space={"training.learning_rate": [0.01]}), folder, context)
    [(name, first)] = runs_by_trial().items()
    job.run(sweep(mlflow=uri, space={"training.learning_rate": [0.01, 0.001]}), folder, context)
    runs = runs_by_trial()
    assert set(runs) == {row["trial"] for row in rows(folder)}
    assert runs[name].info.run_id == first.info.run_id
    for row in rows(folder):
        run = runs[row["trial"]]
        assert run.info.status == "FINISHED"
        assert run.data.params == {"training.learning_rate": row["training.learning_rate"]}
        history = read_metrics(folder / "trials" / row["trial"])
        curve = client.get_metric_history(run.info.run_id, "validation_loss")
        assert [(at.step, at.value) for at in curve] == [(line["epoch"], line["validation_loss"]) for line in history]
    # A trial with more epochs is a new run with a longer curve.
    longer = BASE | {"training": {"epochs": 4, "batch_size": 4}}
    job.run(sweep(mlflow=uri, base=longer, space={"training.learning_rate": [0.01]}), folder, context)
    assert len(client.get_metric_history(runs_by_trial()[rows(folder)[0]["trial"]].info.run_id, "validation_loss")) == 4


def test_unreachable_mlflow_does_not_affect_the_results(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    stage, folder = sweep(mlflow="http://127.0.0.1:9", space={"training.learning_rate": [0.01]}), tmp_path / "run"
    with pytest.raises(RunError, match=r"http://127.0.0.1:9: MLflow cannot log the trials \(.*the table of trials"):
        job.run(stage, folder, context)
    assert len(rows(folder)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    # The address of MLflow is not part of the identity of a sweep.
    job.run(stage.with_updates(mlflow=None), folder, context)
    assert RunDir.at(folder).finished(stage.identity()) is not None
