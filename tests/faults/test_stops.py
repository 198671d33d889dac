"""Runs over Ray that are asked to stop finish their work in flight, and the same command resumes them."""

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


def test_a_generation_that_is_asked_to_stop_drains_exits_75_and_goes_on(tmp_path: Path) -> None:
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
            code, said = run.ended()
        assert code == 75, said
        line = f"stopped by {number.name} with {run.samples()} of 30 samples done; run the same command again to resume"
        assert line in said
        # What was in flight has ended: no half-made files, and every shard in the ledger.
        assert not list(folder.glob(".tmp-*"))
        assert len(datasets.shards(folder)) == run.samples() < 30
    # Before, during and after the start of Ray.
    for deadline in (0.5, 1, 2) if FULL else (1,):
        with started(job_file, folder, "--stop-after", deadline) as run:
            code, said = run.ended()
        assert code == 75, said
        assert "stopped by the deadline with " in said
        assert said.count("\n") == 1
    finished(job_file, folder)
    assert datasets.shards(folder) == datasets.shards(tmp_path / "undisturbed")


def test_a_sweep_of_datasets_that_is_asked_to_stop_ends_after_the_shard_and_goes_on(tmp_path: Path) -> None:
    schedule = {"sweeps": 20000, "quench_sweeps": 1000}
    base = {"kind": "generate", "samples": 6, "size": 64, "shard_samples": 1, "hamiltonian": "labyrinth"}
    space = {"hamiltonian.dmi": [0.1, 0.2, 0.3, 0.4]}
    swept = build(Tune, {"base": {**base, "schedule": schedule}, "space": space, "metric": "wall_length"}, "")
    undisturbed = table_of(swept, tmp_path / "undisturbed")
    job_file, folder = tmp_path / "sweep.toml", tmp_path / "stopped"
    job_file.write_text(job.to_toml(swept))

    def made() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/shard-*.nc")}

    with started(job_file, folder) as run:
        run.wait_for(lambda: len(made()) >= 3)
        run.driver.send_signal(signal.SIGUSR2)
        assert run.ended()[0] == 75
    before = made()
    assert len(before) < 24
    finished(job_file, folder)
    assert before.items() <= made().items()
    assert (folder / "trials.csv").read_bytes() == undisturbed


def test_a_trial_of_two_workers_that_is_asked_to_stop_ends_after_the_epoch_and_goes_on(tmp_path: Path) -> None:
    data = datasets.make(datasets.labyrinths(36, 64, splits={"test": 0, "validation": 4}), tmp_path / "data")
    settings = {"epochs": 30, "batch_size": 4, "learning_rate": 0.01}
    base = {"kind": "train-sr", "dataset": str(data), "network": {"scale": 4}, "training": settings}
    two = build(Tune, {"base": {**base, "resources": {"workers": 2}}, "space": {"training.learning_rate": [0.01]}}, "")
    fit_on_two_ranks(build(TrainSr, two.base.to_table(), ""), tmp_path / "undisturbed")
    job_file, folder = tmp_path / "sweep.toml", tmp_path / "stopped"
    job_file.write_text(job.to_toml(two))

    def trained() -> list[float]:
        [*curves] = (read_metrics(path) for path in folder.glob("trials/*"))
        return [line["validation_loss"] for lines in curves for line in lines]

    with started(job_file, folder) as run:
        run.wait_for(lambda: len(trained()) > 2)
        run.driver.send_signal(signal.SIGTERM)
        code, said = run.ended()
    assert code == 75, said
    assert "stopped by SIGTERM with 0 of 1 trials done; run the same command again to resume" in said
    assert 2 < len(trained()) < 30
    finished(job_file, folder)
    assert trained() == [line["validation_loss"] for line in read_metrics(tmp_path / "undisturbed")]
