"""Runs with Ray that receive a stop signal finish the work in progress, and the same command resumes them."""

from __future__ import annotations

import signal
from pathlib import Path

from rayspin import job
from rayspin.config import build
from rayspin.jobs.train.job import TrainSr
from rayspin.jobs.tune.job import Tune
from rayspin.training import read_metrics
from tests.support import datasets
from tests.support.ranks import fit_on_two_ranks
from tests.support.runs import finished, started
from tests.support.soak import FULL
from tests.support.sweeps import table_of


def test_stopped_generation_drains_exits_with_75_and_resumes(tmp_path: Path) -> None:
    stage = datasets.labyrinths(
        30, 64, seed=5, shard_samples=1, splits={"test": 2}, schedule={"sweeps": 20000, "quench_sweeps": 1000}
    )
    datasets.make(stage, tmp_path / "undisturbed")
    job_file, folder = tmp_path / "job.toml", tmp_path / "stopped"
    job_file.write_text(job.to_toml(stage))
    for number in (signal.SIGUSR2, signal.SIGTERM):
        with started(job_file, folder) as run:
            run.wait_for_samples(3)
            run.driver.send_signal(number)
            code, stderr = run.wait()
        assert code == 75, stderr
        line = f"stopped by {number.name} with {run.samples()} of 30 samples done; run the same command again to resume"
        assert line in stderr
        # The shards in progress were completed and recorded, and no temporary file remains.
        assert not list(folder.glob(".tmp-*"))
        assert len(datasets.shards(folder)) == run.samples() < 30
    # These deadlines expire before, during and after the start of Ray.
    for deadline in (0.5, 1, 2) if FULL else (1,):
        with started(job_file, folder, "--stop-after", deadline) as run:
            code, stderr = run.wait()
        assert code == 75, stderr
        assert "stopped by the deadline with " in stderr
        assert stderr.count("\n") == 1
    finished(job_file, folder)
    assert datasets.shards(folder) == datasets.shards(tmp_path / "undisturbed")


def test_stopped_sweep_of_datasets_finishes_its_shards_and_resumes(tmp_path: Path) -> None:
    schedule = {"sweeps": 20000, "quench_sweeps": 1000}
    base = {"kind": "generate", "samples": 6, "size": 64, "shard_samples": 1, "hamiltonian": "labyrinth"}
    space = {"hamiltonian.dmi": [0.1, 0.2, 0.3, 0.4]}
    sweep = build(Tune, {"base": {**base, "schedule": schedule}, "space": space, "metric": "wall_length"}, "")
    undisturbed = table_of(sweep, tmp_path / "undisturbed")
    job_file, folder = tmp_path / "sweep.toml", tmp_path / "stopped"
    job_file.write_text(job.to_toml(sweep))

    def shard_times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/shard-*.nc")}

    with started(job_file, folder) as run:
        run.wait_for(lambda: len(shard_times()) >= 3)
        run.driver.send_signal(signal.SIGUSR2)
        assert run.wait()[0] == 75
    before = shard_times()
    assert len(before) < 24
    finished(job_file, folder)
    assert before.items() <= shard_times().items()
    assert (folder / "trials.csv").read_bytes() == undisturbed


def test_stopped_trial_with_two_workers_finishes_its_epoch_and_resumes(tmp_path: Path) -> None:
    data = datasets.make(datasets.labyrinths(36, 64, splits={"test": 0, "validation": 4}), tmp_path / "data")
    settings = {"epochs": 30, "batch_size": 4, "learning_rate": 0.01}
    base = {"kind": "train-sr", "dataset": str(data), "network": {"scale": 4}, "training": settings}
    two = build(Tune, {"base": {**base, "resources": {"workers": 2}}, "space": {"training.learning_rate": [0.01]}}, "")
    fit_on_two_ranks(build(TrainSr, two.base.to_table(), ""), tmp_path / "undisturbed")
    job_file, folder = tmp_path / "sweep.toml", tmp_path / "stopped"
    job_file.write_text(job.to_toml(two))

    def losses() -> list[float]:
        [*curves] = (read_metrics(path) for path in folder.glob("trials/*"))
        return [line["validation_loss"] for lines in curves for line in lines]

    with started(job_file, folder) as run:
        run.wait_for(lambda: len(losses()) > 2)
        run.driver.send_signal(signal.SIGTERM)
        code, stderr = run.wait()
    assert code == 75, stderr
    assert "stopped by SIGTERM with 0 of 1 trials done; run the same command again to resume" in stderr
    assert 2 < len(losses()) < 30
    finished(job_file, folder)
    assert losses() == [line["validation_loss"] for line in read_metrics(tmp_path / "undisturbed")]
