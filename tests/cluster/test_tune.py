"""Sweeps on a real Ray: what they run, what they leave, and that nothing is run twice."""

from __future__ import annotations

import csv
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from rayspin import job
from rayspin.cluster.session import Session
from rayspin.cluster.sweep.feed import Feed
from rayspin.cluster.sweep.legs import Work, observed, reported
from rayspin.cluster.train import TrainSr, read_metrics
from rayspin.cluster.tune import Tune
from rayspin.config import build
from rayspin.errors import RunError
from rayspin.job import Context
from rayspin.physics.observables import magnetization, topological_charge
from rayspin.rundir import RunDir
from rayspin.status import describe
from rayspin.storage import Catalog, open_dataset

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

LABYRINTHS = {
    "kind": "generate",
    "samples": 12,
    "size": 16,
    "shard_samples": 4,
    "hamiltonian": "labyrinth",
    "schedule": {"sweeps": 20, "quench_sweeps": 20},
    "splits": {"test": 0, "validation": 4},
}
BASE = {
    "kind": "train-sr",
    "dataset": "@labyrinth",
    "network": {"scale": 4},
    "training": {"epochs": 3, "batch_size": 4},
}


def sweep(**changes: object) -> Tune:
    table = {
        "base": BASE,
        "datasets": {"labyrinth": LABYRINTHS},
        "space": {"objective.noise_amplitude": [0.0, 0.5], "training.learning_rate": [0.01, 0.001]},
    }
    return build(Tune, {**table, **changes}, "")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as stream:
        return list(csv.DictReader(stream))


def events(folder: Path, event: str) -> list[dict[str, object]]:
    lines = map(json.loads, (folder / "trials.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


@pytest.fixture
def context(ray_session: Session) -> Context:
    return Context(ray_session)


@pytest.fixture(scope="module")
def finished(ray_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "run"
    job.run(sweep(), folder, Context(ray_session))
    return folder


def test_a_trial_is_what_its_job_alone_gives(finished: Path, tmp_path: Path) -> None:
    """best.toml runs as it is, on one worker, and ends with the very figures of the table."""
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


def test_trials_report_the_figures_that_a_metric_may_name(finished: Path, context: Context, tmp_path: Path) -> None:
    fields = build(Tune, {"base": LABYRINTHS, "space": {"seed": [1]}, "metric": "energy"}, "")
    job.run(fields, tmp_path / "fields", context)
    estimation = {"kind": "train-fcn", "dataset": "@labyrinth", "training": {"epochs": 1, "batch_size": 4}}
    large = {"labyrinth": LABYRINTHS | {"size": 32}}
    job.run(sweep(base=estimation, datasets=large, space={"training.seed": [1]}), tmp_path / "estimation", context)
    for folder in (finished, tmp_path / "fields", tmp_path / "estimation"):
        stage = job.load(folder / "job.toml")
        assert isinstance(stage, Tune)
        for event in events(folder, "result"):
            assert set(event["figures"]) == set(reported(stage.base))  # type: ignore[call-overload]


def test_optuna_may_choose_datasets_that_nobody_made_before(context: Context, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    searched = sweep(
        space={"datasets.labyrinth.hamiltonian.dmi": {"uniform": [0.2, 0.4]}},
        search={"method": "optuna", "trials": 3, "seed": 1},
    )
    job.run(searched, tmp_path / "run", context)
    found = rows(tmp_path / "run")
    assert [row["state"] for row in found] == ["done"] * 3
    made = {Catalog.open(folder).hamiltonian.dmi for folder in (tmp_path / "run" / "datasets").iterdir()}
    assert {float(row["datasets.labyrinth.hamiltonian.dmi"]) for row in found} <= made


def test_the_table_as_netcdf_has_the_axes_as_dimensions(finished: Path) -> None:
    grid = xr.load_dataset(finished / "trials.nc")
    assert grid["validation_loss"].dims == ("noise_amplitude", "learning_rate")
    assert grid["noise_amplitude"].attrs["long_name"] == "objective.noise_amplitude"
    for row in rows(finished):
        place = {
            "noise_amplitude": float(row["objective.noise_amplitude"]),
            "learning_rate": float(row["training.learning_rate"]),
        }
        assert float(grid["fine_mse"].sel(place)) == float(row["fine_mse"])
        assert str(grid["trial"].sel(place).values) == row["trial"]


def test_one_dataset_is_made_for_all_trials_and_read_where_it_lies(finished: Path) -> None:
    [dataset] = (finished / "datasets").iterdir()
    assert open_dataset(dataset).sizes["sample"] == 12
    assert not list(finished.glob("trials/*/*.nc"))
    assert len({row["trial"] for row in rows(finished)}) == 4


def test_status_and_plan_know_the_end(finished: Path) -> None:
    _, status = describe(finished)
    assert status["trials"] == "4: 4 done"
    best = min(rows(finished), key=lambda row: float(row["validation_loss"]))
    assert best["trial"] in status["best so far"]
    plan = job.plan(sweep(), finished)
    assert plan.core_seconds == 0
    assert [line.split()[1] for line in plan.listing] == ["done"] * 4


def test_a_larger_grid_adds_its_points_to_the_table(finished: Path, context: Context) -> None:
    before = rows(finished)
    larger = {"objective.noise_amplitude": [0.0, 0.2, 0.5], "training.learning_rate": [0.01, 0.001]}
    job.run(sweep(space=larger), finished, context)
    after = rows(finished)
    assert after[:4] == before
    assert [row["objective.noise_amplitude"] for row in after[4:]] == ["0.2", "0.2"]
    assert len(events(finished, "started")) == 6
    job.run(sweep(), finished, context)
    assert rows(finished) == before


def test_a_sweep_over_hamiltonians_measures_what_it_makes(context: Context, tmp_path: Path) -> None:
    base = {**LABYRINTHS, "samples": 3, "splits": {"test": 0}}
    space = {"hamiltonian.anisotropy": [0.0, 0.1], "hamiltonian.external_field.2": [0.0, 0.5, 2.0]}
    swept = build(Tune, {"base": base, "space": space, "metric": "magnetization_z", "goal": "max"}, "")
    summary = job.run(swept, tmp_path / "run", context)
    grid = xr.load_dataset(tmp_path / "run" / "trials.nc")
    assert grid["magnetization_z"].dims == ("anisotropy", "external_field_2")
    # A field of 2 J, beyond saturation, leaves nothing but spins along it.
    np.testing.assert_allclose(grid["magnetization_z"].sel(external_field_2=2.0), 1, atol=1e-3)
    np.testing.assert_allclose(grid["topological_charge"].sel(external_field_2=2.0), 0, atol=1e-6)
    assert (abs(grid["magnetization_z"].sel(external_field_2=0.0)) < 0.5).all()
    assert float(summary.figures["best hamiltonian.external_field.2"]) == 2.0
    assert "phase_diagram.png" in summary.pictures
    trial = str(grid["trial"].sel(anisotropy=0.1, external_field_2=0.5).values)
    folder = tmp_path / "run" / "trials" / trial
    spins = open_dataset(folder)["spins"].values
    charges = topological_charge(spins)
    found = observed(Catalog.open(folder))
    assert found["topological_charge"] == pytest.approx(charges.mean(), abs=1e-12)
    assert found["topological_charge_error"] == pytest.approx(charges.std(ddof=1) / np.sqrt(3), abs=1e-12)
    assert found["magnetization_z"] == pytest.approx(magnetization(spins)[:, 2].mean(), abs=1e-12)


class _Poisoned(TrainSr):
    """A training that fails in the way that its noise amplitude says."""

    def fit(self, dataset: Path, folder: Path, **placement: object) -> object:  # type: ignore[override]
        match self.objective.noise_amplitude:
            case 1.0:
                raise FloatingPointError("spin 6 diverged")
            case 2.0:
                return np.zeros(2**40, np.uint8)
            case 3.0:
                os._exit(1)
            case 4.0:
                return super().fit(dataset, folder, **placement)
        return super().fit(dataset, folder, **placement)


def test_trials_that_always_fail_leave_the_others_and_say_why(context: Context, tmp_path: Path) -> None:
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    folder = tmp_path / "run"
    space = {"objective.noise_amplitude": [0.0, 1.0, 2.0, 3.0, 0.5], "training.learning_rate": [0.01]}
    poisoned = sweep(space=space, resources={"memory_gib": 4.0})
    poisoned = poisoned.with_updates(base=_Poisoned(**dict(poisoned.base)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rayspin.cluster.sweep.trials.build_stage", lambda table, where: build(_Poisoned, table, where))
        # One restart is enough to see that there are some.
        patch.setattr("rayspin.cluster.sweep.engine.WORKER_RESTARTS", 1)
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
    trial = folder / "trials" / by_noise[1.0]["trial"]
    assert "spin 6 diverged" in (trial / "error.txt").read_text()
    assert tomllib.loads((trial / "job.toml").read_text())["objective"]["noise_amplitude"] == 1.0
    # An exception is tried a second time; what the kernel ends is not told from a lost node, and has its own count.
    tries = [line["trial"] for line in events(folder, "failed")]
    assert tries.count(by_noise[1.0]["trial"]) == 2
    _, status = describe(folder)
    assert status["trials"] == "5: 3 failed, 2 done"
    assert "spin 6 diverged" in status[f"failed {by_noise[1.0]['trial']}"]
    # Mended, the same command runs what failed and nothing else.
    job.run(sweep(space=space), folder, context)
    assert [row["state"] for row in rows(folder)] == ["done"] * 5
    assert {line["trial"] for line in events(folder, "started")[-3:]} == {by_noise[n]["trial"] for n in (1.0, 2.0, 3.0)}


def test_what_cannot_be_placed_says_so_at_once_with_the_numbers(context: Context, tmp_path: Path) -> None:
    message = "a trial takes 1 workers of 64 CPUs, and the cluster has 2 CPUs and 0 GPUs; ask for fewer or smaller"
    with pytest.raises(RunError, match=message):
        job.run(sweep(base={**BASE, "resources": {"cpus_per_worker": 64}}), tmp_path / "cpus", context)
    message = "a trial takes 1 workers of 1 CPUs and 0.25 GPUs, and the cluster has 2 CPUs and 0 GPUs"
    shared = sweep(base={**BASE, "resources": {"gpu": True}}, resources={"trials_per_gpu": 4})
    with pytest.raises(RunError, match=message):
        job.run(shared, tmp_path / "gpus", context)


@pytest.mark.slow
def test_trials_of_two_workers_run_one_after_another_without_deadlock(
    finished: Path, context: Context, tmp_path: Path
) -> None:
    """Two trials, each of which takes every CPU there is."""
    space = {"training.learning_rate": [0.01, 0.001]}
    two = sweep(base={**BASE, "dataset": dataset(finished), "resources": {"workers": 2}}, space=space)
    job.run(two, tmp_path / "two", context)
    table = rows(tmp_path / "two")
    assert len(table) == 2
    for trial, row in zip(two.trials(), table, strict=True):
        assert isinstance(trial.job, TrainSr)
        result = trial.job.fit(Path(dataset(finished)), tmp_path / row["trial"])
        # The result of a training depends on the number of its workers by rounding only.
        assert float(row["training_loss"]) == pytest.approx(result.best_epoch["training_loss"], rel=1e-3)


def dataset(finished: Path) -> str:
    [folder] = (finished / "datasets").iterdir()
    return str(folder)


@pytest.fixture
def here(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A place to run sweeps without Ray: the same feed and the same work, one leg after another in this process."""

    def in_this_process(swept: Tune, run: RunDir, context: Context, feed: Feed) -> None:
        work = Work(run, Path.cwd())
        while (leg := feed.next()) is not None:
            feed.take(leg, work.do(leg))

    monkeypatch.setattr(Tune, "_run_trials", in_this_process)
    return Context()


def test_a_loss_that_is_not_finite_is_a_failed_trial(finished: Path, here: Context, tmp_path: Path) -> None:
    swept = sweep(base={**BASE, "dataset": dataset(finished)}, space={"training.learning_rate": [0.01, 1e30]})
    message = r"1 of 2 trials failed, the first with learning_rate 1e\+30: RunError: training: the loss of epoch 1"
    with pytest.raises(RunError, match=message):
        job.run(swept, tmp_path, here)
    assert [row["state"] for row in rows(tmp_path)] == ["done", "failed"]
    # The job itself is to blame: nothing is gained by a second try.
    assert len(events(tmp_path, "failed")) == 1


def test_halving_stops_trainings_that_fall_behind(finished: Path, here: Context, tmp_path: Path) -> None:
    base = {**BASE, "dataset": dataset(finished), "training": {"epochs": 4, "batch_size": 4}}
    space = {"training.learning_rate": {"log_uniform": [1e-4, 1e-1]}}
    search = {"method": "random", "trials": 6}
    summary = job.run(sweep(base=base, space=space, search=search, asha={"reduction": 2}), tmp_path, here)
    table = rows(tmp_path)
    assert {int(row["epochs"]) for row in table} <= {1, 2, 4}
    assert {row["state"] for row in table} == {"done", "stopped"}
    for row in table:
        history = read_metrics(tmp_path / "trials" / row["trial"])
        assert [line["epoch"] for line in history] == list(range(1, int(row["epochs"]) + 1))
    assert {"curves.png", "best.png", "parallel.png"} == set(summary.pictures)
    flat = xr.load_dataset(tmp_path / "trials.nc")
    assert flat["validation_loss"].dims == ("number",)
    assert list(flat["trial"].values) == [row["trial"] for row in table]


def test_a_branch_goes_on_from_its_parent_with_other_settings(finished: Path, here: Context, tmp_path: Path) -> None:
    base = {**BASE, "dataset": dataset(finished), "training": {"epochs": 4, "batch_size": 4}}
    space = {"training.learning_rate": {"log_uniform": [1e-4, 1e-1]}}
    search = {"method": "population", "members": 4, "interval": 2}
    job.run(sweep(base=base, space=space, search=search), tmp_path, here)
    table = rows(tmp_path)
    [branch] = [row for row in table if row["parent"]]
    branched, parent = (read_metrics(tmp_path / "trials" / branch[name]) for name in ("trial", "parent"))
    assert branched[:2] == parent[:2]
    assert branched[2:] != parent[2:]
    assert branched[3]["learning_rate"] == float(branch["training.learning_rate"])
    assert [row["state"] for row in table].count("done") == 4
    before = (tmp_path / "trials.csv").read_bytes()
    (tmp_path / "summary.json").unlink()
    job.run(sweep(base=base, space=space, search=search), tmp_path, here)
    assert (tmp_path / "trials.csv").read_bytes() == before


@pytest.mark.filterwarnings("ignore")  # of MLflow's own dealings with SQLAlchemy
def test_mlflow_has_the_trials_once_and_follows_a_sweep_that_grows(context: Context, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri, folder = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "noise"
    client = mlflow.MlflowClient(uri)

    def logged() -> dict[str, Any]:
        experiment = client.get_experiment_by_name("noise").experiment_id
        return {run.data.tags["rayspin.trial"]: run for run in client.search_runs([experiment])}

    job.run(sweep(mlflow=uri, space={"training.learning_rate": [0.01]}), folder, context)
    [(name, first)] = logged().items()
    job.run(sweep(mlflow=uri, space={"training.learning_rate": [0.01, 0.001]}), folder, context)
    runs = logged()
    assert set(runs) == {row["trial"] for row in rows(folder)}
    assert runs[name].info.run_id == first.info.run_id
    for row in rows(folder):
        run = runs[row["trial"]]
        assert run.info.status == "FINISHED"
        assert run.data.params == {"training.learning_rate": row["training.learning_rate"]}
        history = read_metrics(folder / "trials" / row["trial"])
        curve = client.get_metric_history(run.info.run_id, "validation_loss")
        assert [(at.step, at.value) for at in curve] == [(line["epoch"], line["validation_loss"]) for line in history]
    # Trained for longer, a trial is another one with a longer curve; it takes the place of none.
    longer = BASE | {"training": {"epochs": 4, "batch_size": 4}}
    job.run(sweep(mlflow=uri, base=longer, space={"training.learning_rate": [0.01]}), folder, context)
    assert len(client.get_metric_history(logged()[rows(folder)[0]["trial"]].info.run_id, "validation_loss")) == 4


def test_an_mlflow_that_is_not_there_costs_no_result(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    stage, folder = sweep(mlflow="http://127.0.0.1:9", space={"training.learning_rate": [0.01]}), tmp_path / "run"
    with pytest.raises(RunError, match=r"http://127.0.0.1:9: MLflow can't log the trials \(.*the table is written"):
        job.run(stage, folder, context)
    assert len(rows(folder)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    # Where a sweep is logged is no part of what it computes.
    job.run(stage.with_updates(mlflow=None), folder, context)
    assert RunDir.at(folder).finished(stage.identity()) is not None
