"""Sweeps whose trials are trainings with several workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayspin import job
from rayspin.execution.session import Session
from rayspin.job import Context
from rayspin.jobs.train.job import TrainSr
from tests.support.sweeps import BASE, rows, sweep


@pytest.fixture(scope="module")
def finished(ray_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "run"
    job.run(sweep(), folder, Context(ray_session))
    return folder


def test_trials_of_two_workers_run_one_after_another_without_deadlock(
    finished: Path, context: Context, tmp_path: Path
) -> None:
    """Each of the two trials needs all CPUs."""
    space = {"training.learning_rate": [0.01, 0.001]}
    two = sweep(base={**BASE, "dataset": dataset(finished), "resources": {"workers": 2}}, space=space)
    job.run(two, tmp_path / "two", context)
    table = rows(tmp_path / "two")
    assert len(table) == 2
    for trial, row in zip(two.trials(), table, strict=True):
        assert isinstance(trial.job, TrainSr)
        result = trial.job.fit(Path(dataset(finished)), tmp_path / row["trial"])
        # Trainings with different numbers of workers differ by rounding only.
        assert float(row["training_loss"]) == pytest.approx(result.best_epoch["training_loss"], rel=1e-3)


def dataset(finished: Path) -> str:
    [folder] = (finished / "datasets").iterdir()
    return str(folder)
