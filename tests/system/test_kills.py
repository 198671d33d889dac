"""Trainings and sweeps with Ray that are killed and stopped several times give the results of undisturbed runs.

Tests with killed generations are in tests/smoke and tests/faults.
"""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from rayspin import job
from rayspin.config import build
from rayspin.jobs.registry import build_stage
from rayspin.jobs.train.job import Training
from rayspin.jobs.tune.job import Tune
from rayspin.jobs.tune.ledger import Ledger
from rayspin.status import describe
from rayspin.training import read_metrics
from rayspin.training.checkpoint import Checkpoint
from tests.support import datasets
from tests.support.ranks import fit_on_two_ranks
from tests.support.runs import Run, started
from tests.support.soak import FULL
from tests.support.sweeps import events, table_of

EPOCHS, INTERVAL = 30, 3


@pytest.fixture
def training(tmp_path: Path) -> Training:
    """A training with two workers that takes seconds."""
    data = datasets.labyrinths(36, 64, splits={"test": 0, "validation": 4})
    settings = {"batch_size": 4, "augmentation": "symmetries", "epochs": EPOCHS, "checkpoint_interval": INTERVAL}
    table = {"kind": "train-fcn", "dataset": str(datasets.make(data, tmp_path / "data")), "training": settings}
    stage = build_stage({**table, "resources": {"workers": 2}}, "")
    assert isinstance(stage, Training)
    return stage


def curve(folder: Path) -> list[dict[str, Any]]:
    """The figures of each epoch, without times."""
    clock = ("seconds", "samples_per_second")
    return [{key: value for key, value in line.items() if key not in clock} for line in read_metrics(folder)]


def checkpoint_epochs(folder: Path) -> int:
    """The number of epochs in the checkpoint."""
    state = Checkpoint.load(folder)
    return 0 if state is None else len(state.history)


@pytest.mark.timeout(900)
def test_killed_and_stopped_training_gives_the_same_curve(training: Training, tmp_path: Path) -> None:
    fit_on_two_ranks(training, tmp_path / "undisturbed")
    job_file, folder = tmp_path / "training.toml", tmp_path / "run"
    job_file.write_text(job.to_toml(training))

    def epochs() -> int:
        return len(read_metrics(folder))

    def ranks(run: Run) -> list[psutil.Process]:
        return run.find("ray::RayTrainWorker")

    with started(job_file, folder) as run:
        run.wait_for(lambda: epochs() >= INTERVAL + 2 and len(ranks(run)) == 2)
        rank = ranks(run)[1]
        rank.kill()
        run.wait_for(lambda: len(ranks(run)) == 2 and rank not in ranks(run))
        before = epochs()
        assert before - checkpoint_epochs(folder) <= INTERVAL
        run.wait_for(lambda: epochs() >= before + 2)
        run.driver.send_signal(signal.SIGKILL)
        run.driver.wait()
        run.check_processes_ended()
    assert 0 < epochs() - checkpoint_epochs(folder) <= INTERVAL or epochs() == checkpoint_epochs(folder)
    # Ray has handlers for these two signals. The test of sweeps sends the second one.
    for number in (signal.SIGINT, signal.SIGTERM) if FULL else (signal.SIGINT,):
        with started(job_file, folder) as run:
            before = epochs()
            run.wait_for(lambda before=before: epochs() >= before + 2)  # type: ignore[misc]
            run.driver.send_signal(number)
            code, stderr = run.wait()
        assert code == 75, stderr
        line = f"stopped by {number.name} with {epochs()} of {EPOCHS} epochs done; run the same command again to resume"
        assert line in stderr
        assert stderr.count("\n") == 1
        # The training stops after an epoch and saves a checkpoint of it.
        assert checkpoint_epochs(folder) == epochs() < EPOCHS
        assert not (folder / ".ray").exists()
    with started(job_file, folder) as run:
        assert run.wait() == (0, "")
    assert curve(folder) == curve(tmp_path / "undisturbed")
    assert not any((folder / name).exists() for name in (".ray", ".stop", ".progress"))


@pytest.fixture
def sweep(tmp_path: Path) -> Tune:
    """Five trainings with successive halving that take seconds each."""
    data = datasets.make(datasets.labyrinths(16, 32, splits={"test": 0, "validation": 4}), tmp_path / "data")
    training = {"epochs": 16, "batch_size": 4}
    base = {"kind": "train-sr", "dataset": str(data), "network": {"scale": 4}, "training": training}
    space = {"training.learning_rate": [0.01, 0.003, 0.001, 0.0003, 0.0001]}
    return build(Tune, {"base": base, "space": space, "asha": {"first": 4, "reduction": 2}}, "")


@pytest.mark.timeout(900)
def test_killed_and_stopped_sweep_gives_the_same_table(sweep: Tune, tmp_path: Path) -> None:
    undisturbed = table_of(sweep, tmp_path / "undisturbed")
    job_file, folder = tmp_path / "sweep.toml", tmp_path / "run"
    job_file.write_text(job.to_toml(sweep))

    def epochs() -> int:
        return sum(path.read_bytes().count(b"\n") for path in folder.glob("trials/*/metrics.jsonl"))

    with started(job_file, folder) as run:
        run.wait_for(lambda: epochs() > 2)
        trial = run.kill("ray::ImplicitFunc", random.Random(0))
        assert trial is not None
        before = epochs()
        run.wait_for(lambda: epochs() > before)
        run.driver.send_signal(signal.SIGTERM)
        code, stderr = run.wait()
    assert code == 75, stderr
    assert "of 5 trials done; run the same command again to resume" in stderr
    assert "stopped by SIGTERM with " in stderr
    assert not list(folder.glob("trials/*/.tmp-*"))
    with started(job_file, folder) as run:
        before = epochs()
        run.wait_for(lambda: epochs() > before)
        run.kill("raylet", random.Random(1))
        code, stderr = run.wait()
        assert (code, stderr.count("\n")) == (1, 1), stderr
        assert re.match(r"Ray on this machine: its .*\braylet\b.* died; completed work is saved; run the", stderr), (
            stderr
        )
    with started(job_file, folder) as run:
        before = epochs()
        run.wait_for(lambda: epochs() > before)
        run.driver.send_signal(signal.SIGKILL)
        run.driver.wait()
    recorded = Ledger(folder).order
    assert "not running" in describe(folder)[1]["state"]
    with started(job_file, folder) as run:
        assert run.wait() == (0, "")
    assert (folder / "trials.csv").read_bytes() == undisturbed
    # On a busy machine, the loss of Ray ends the command in a call of Ray Tune. The next run removes its files.
    assert not (folder / ".ray").exists()
    # Segments in the ledger were not repeated.
    order = Ledger(folder).order
    assert order[: len(recorded)] == recorded
    assert len(set(order)) == len(order)
    assert events(folder, "failed") == [], "the loss of a worker counted against its trial"
    assert not (folder / ".ray").exists()
