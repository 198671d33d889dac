"""Sweeps with Ray Tune: results of trials, repetitions, failures and requested resources."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from rayspin import job
from rayspin.config import build
from rayspin.errors import RunError
from rayspin.execution.session import Session
from rayspin.job import Context
from rayspin.jobs.train.job import TrainSr
from rayspin.status import describe
from rayspin.training import read_metrics
from tests.support.sweeps import BASE, events, rows, sweep


@pytest.fixture(scope="module")
def finished(ray_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "run"
    job.run(sweep(), folder, Context(ray_session))
    return folder


def test_trial_gives_the_result_of_its_job_alone(finished: Path, tmp_path: Path) -> None:
    """best.toml runs unchanged with one worker and gives the figures of the table."""
    best = min(rows(finished), key=lambda row: float(row["validation_loss"]))
    stage = job.load(finished / "best.toml")
    assert isinstance(stage, TrainSr)
    assert stage.resources.workers == 1
    assert stage.objective.noise_amplitude == float(best["objective.noise_amplitude"])
    torch.set_num_threads(1)
    stage.fit(Path(stage.dataset), tmp_path)
    history = read_metrics(tmp_path)
    line = min(history, key=lambda line: line["validation_loss"])
    for name in ("validation_loss", "training_loss", "fine_mse"):
        assert float(best[name]) == line[name]
    assert int(best["best_epoch"]) == line["epoch"]


def test_larger_grid_adds_its_points_to_the_table(finished: Path, context: Context) -> None:
    before = rows(finished)
    larger = {"objective.noise_amplitude": [0.0, 0.2, 0.5], "training.learning_rate": [0.01, 0.001]}
    job.run(sweep(space=larger), finished, context)
    after = rows(finished)
    assert after[:4] == before
    assert [row["objective.noise_amplitude"] for row in after[4:]] == ["0.2", "0.2"]
    assert len(events(finished, "started")) == 6
    job.run(sweep(), finished, context)
    assert rows(finished) == before


class _Poisoned(TrainSr):
    """A training whose noise amplitude selects the way in which it fails."""

    def fit(self, dataset: Path, folder: Path, **placement: object) -> object:  # type: ignore[override]
        match self.objective.noise_amplitude:
            case 1.0:
                raise FloatingPointError("spin 6 diverged")
            case 2.0:
                return np.zeros(2**40, np.uint8)
            case 3.0:
                with (folder.parent / "deaths").open("a") as deaths:
                    deaths.write("x")
                os._exit(1)
            case 4.0:
                return super().fit(dataset, folder, **placement)
        return super().fit(dataset, folder, **placement)


def test_failing_trials_are_reported_and_do_not_affect_others(context: Context, tmp_path: Path) -> None:
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    folder = tmp_path / "run"
    space = {"objective.noise_amplitude": [0.0, 1.0, 2.0, 3.0, 0.5], "training.learning_rate": [0.01]}
    poisoned = sweep(space=space, resources={"memory_gib": 4.0})
    poisoned = poisoned.with_updates(base=_Poisoned(**dict(poisoned.base)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rayspin.jobs.tune.trials.build_stage", lambda table, where: build(_Poisoned, table, where))
        # One restart is enough for this test.
        patch.setattr("rayspin.jobs.tune.segment_queue.WORKER_RESTARTS", 1)
        with pytest.raises(RunError, match=r"3 of 5 trials failed, the first with noise_amplitude 1") as caught:
            job.run(poisoned, folder, context)
    assert caught.value.exit_code == 1
    by_noise = {float(row["objective.noise_amplitude"]): row for row in rows(folder)}
    assert [by_noise[noise]["state"] for noise in (0.0, 1.0, 2.0, 3.0, 0.5)] == [
        "done", "failed", "failed", "failed", "done",
    ]  # fmt: skip
    assert by_noise[1.0]["error"] == "FloatingPointError: spin 6 diverged"
    assert "MemoryError" in by_noise[2.0]["error"]
    assert "its worker was lost 2 times" in by_noise[3.0]["error"]
    assert (folder / "trials" / "deaths").read_text() == "xx"
    trial = folder / "trials" / by_noise[1.0]["trial"]
    assert "spin 6 diverged" in (trial / "error.txt").read_text()
    assert tomllib.loads((trial / "job.toml").read_text())["objective"]["noise_amplitude"] == 1.0
    # A trial that raises is attempted twice. Restarts after the loss of a worker are counted separately.
    tries = [line["trial"] for line in events(folder, "failed")]
    assert tries.count(by_noise[1.0]["trial"]) == 2
    _, status = describe(folder)
    assert status["trials"] == "5: 3 failed, 2 done"
    assert "spin 6 diverged" in status[f"failed {by_noise[1.0]['trial']}"]
    # Without the fault, the same command repeats the failed trials only.
    job.run(sweep(space=space), folder, context)
    assert [row["state"] for row in rows(folder)] == ["done"] * 5
    assert {line["trial"] for line in events(folder, "started")[-3:]} == {by_noise[n]["trial"] for n in (1.0, 2.0, 3.0)}


def test_impossible_resource_request_is_an_error_with_the_numbers(context: Context, tmp_path: Path) -> None:
    message = "a trial needs 1 workers of 64 CPUs, and the cluster has nodes of 2 CPUs and 0 GPUs; reduce the workers"
    with pytest.raises(RunError, match=message):
        job.run(sweep(base={**BASE, "resources": {"cpus_per_worker": 64}}), tmp_path / "cpus", context)
    message = "a trial needs 1 workers of 1 CPUs and 0.25 GPUs, and the cluster has nodes of 2 CPUs and 0 GPUs"
    shared = sweep(base={**BASE, "resources": {"gpu": True}}, resources={"trials_per_gpu": 4})
    with pytest.raises(RunError, match=message):
        job.run(shared, tmp_path / "gpus", context)
