"""Sweeps without Ray: outcomes of trials, and the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from rayspin import job
from rayspin.config import build
from rayspin.errors import RunError
from rayspin.job import Context
from rayspin.jobs.tune.job import Tune
from rayspin.jobs.tune.segments import observed, reported
from rayspin.physics.observables import magnetization, topological_charge
from rayspin.status import describe
from rayspin.storage import Catalog, open_dataset
from rayspin.training import read_metrics
from tests.support.sweeps import BASE, LABYRINTHS, events, rows, run_here, sweep, table_of


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "run"
    table_of(sweep(), folder)
    return folder


@pytest.fixture(scope="module")
def dataset(finished: Path) -> str:
    [folder] = (finished / "datasets").iterdir()
    return str(folder)


def test_a_loss_that_is_not_finite_is_a_failed_trial(dataset: str, tmp_path: Path) -> None:
    swept = sweep(base={**BASE, "dataset": dataset}, space={"training.learning_rate": [0.01, 1e30]})
    message = r"1 of 2 trials failed, the first with learning_rate 1e\+30: RunError: training: the loss of epoch 1"
    with pytest.raises(RunError, match=message):
        job.run(swept, tmp_path, Context())
    assert [row["state"] for row in rows(tmp_path)] == ["done", "failed"]
    # An error of the job itself is not retried.
    assert len(events(tmp_path, "failed")) == 1


def test_halving_stops_trainings_that_fall_behind(dataset: str, tmp_path: Path) -> None:
    base = {**BASE, "dataset": dataset, "training": {"epochs": 4, "batch_size": 4}}
    space = {"training.learning_rate": {"log_uniform": [1e-4, 1e-1]}}
    search = {"method": "random", "trials": 6}
    summary = job.run(sweep(base=base, space=space, search=search, asha={"reduction": 2}), tmp_path, Context())
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


def test_a_branch_goes_on_from_its_parent_with_other_settings(dataset: str, tmp_path: Path) -> None:
    base = {**BASE, "dataset": dataset, "training": {"epochs": 4, "batch_size": 4}}
    space = {"training.learning_rate": {"log_uniform": [1e-4, 1e-1]}}
    search = {"method": "population", "members": 4, "interval": 2}
    job.run(sweep(base=base, space=space, search=search), tmp_path, Context())
    table = rows(tmp_path)
    [branch] = [row for row in table if row["parent"]]
    branched, parent = (read_metrics(tmp_path / "trials" / branch[name]) for name in ("trial", "parent"))
    assert branched[:2] == parent[:2]
    assert branched[2:] != parent[2:]
    assert branched[3]["learning_rate"] == float(branch["training.learning_rate"])
    assert [row["state"] for row in table].count("done") == 4
    before = (tmp_path / "trials.csv").read_bytes()
    (tmp_path / "summary.json").unlink()
    job.run(sweep(base=base, space=space, search=search), tmp_path, Context())
    assert (tmp_path / "trials.csv").read_bytes() == before


def test_trials_report_the_figures_that_a_metric_may_name(finished: Path, tmp_path: Path) -> None:
    fields = build(Tune, {"base": LABYRINTHS, "space": {"seed": [1]}, "metric": "energy"}, "")
    job.run(fields, tmp_path / "fields", Context())
    estimation = {"kind": "train-fcn", "dataset": "@labyrinth", "training": {"epochs": 1, "batch_size": 4}}
    large = {"labyrinth": LABYRINTHS | {"size": 32}}
    job.run(sweep(base=estimation, datasets=large, space={"training.seed": [1]}), tmp_path / "estimation", Context())
    for folder in (finished, tmp_path / "fields", tmp_path / "estimation"):
        stage = job.load(folder / "job.toml")
        assert isinstance(stage, Tune)
        for event in events(folder, "result"):
            assert set(event["figures"]) == set(reported(stage.base))  # type: ignore[call-overload]


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


def test_a_sweep_over_hamiltonians_measures_what_it_makes(tmp_path: Path) -> None:
    base = {**LABYRINTHS, "samples": 3, "splits": {"test": 0}}
    space = {"hamiltonian.anisotropy": [0.0, 0.1], "hamiltonian.external_field.2": [0.0, 0.5, 2.0]}
    swept = build(Tune, {"base": base, "space": space, "metric": "magnetization_z", "goal": "max"}, "")
    summary = job.run(swept, tmp_path / "run", Context())
    grid = xr.load_dataset(tmp_path / "run" / "trials.nc")
    assert grid["magnetization_z"].dims == ("anisotropy", "external_field_2")
    # A field of 2 J is above saturation: all spins are parallel to it.
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
