"""The experiments of the recursive process as jobs: tidy tables, pictures, and what they refuse."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rayspin import job
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.evaluate.energy_trace import EnergyTrace
from rayspin.jobs.evaluate.estimation import EvaluateFcn
from rayspin.jobs.evaluate.external_field import ExternalField
from rayspin.jobs.evaluate.generation import Generation
from rayspin.jobs.evaluate.network import Case
from rayspin.jobs.evaluate.restoration import Restoration
from rayspin.models import SuperResolutionNetConfig, save_weights
from rayspin.physics import Hamiltonian, energy
from rayspin.rundir import RunDir

SCHEDULE = {"sweeps": 6, "quench_sweeps": 4}
COLUMNS = ["sample", "estimator", "step", "energy", "m_x", "m_y", "m_z", "charge", "overlap"]

KINDS = {
    EnergyTrace: {"samples": 3, "iterations": 3, "pictures": 2},
    Restoration: {"samples": 3, "defect_width": 4, "steps": [1, 2]},
    Generation: {"samples": 3, "sizes": [8, 16], "iterations": 2, "schedule": SCHEDULE, "sweeps": 9},
    ExternalField: {
        "samples": 3, "fields": [0.0, 0.2], "iterations": 4, "every": 2, "descent_sweeps": 6,
        "monte_carlo_samples": 1, "schedule": SCHEDULE,
    },
}  # fmt: skip

KEYS = {
    EnergyTrace: {(n, e, s) for n in range(3) for e in ("network", "exact") for s in range(4)},
    Restoration: {
        (n, e, s, damage)
        for n in range(3)
        for e in ("network", "exact", "descent")
        for s in range(3)
        for damage in ("noise", "defect-rows", "defect-square", "out-of-plane")
    },
    ExternalField: {
        (n, e, s, field)
        for n in range(3)
        for field in (0.0, 0.2)
        for e, steps in {"network": (0, 2, 4), "exact": (0, 2, 4), "descent": (0, 3, 6), "monte-carlo": (0, 10)}.items()
        for s in steps
        if e != "monte-carlo" or n == 0
    },
}
FURTHER = {EnergyTrace: [], Restoration: ["damage"], Generation: ["size"], ExternalField: ["field"]}


def experiment(kind: type, dataset: Path, weights: Path, **more: Any) -> Any:
    return build(kind, {"dataset": str(dataset), "weights": str(weights), **KINDS.get(kind, {}), **more}, "")


@pytest.mark.parametrize("kind", KINDS)
def test_tables_have_one_row_for_each_sample_estimator_and_step(kind, field_dataset, field_weights, tmp_path):
    weights = field_weights()
    stage, case = experiment(kind, field_dataset, weights), Case.open(field_dataset, weights, "test")
    rows = [row for first in range(3) for row in stage.measure(case, first, 1)]
    summary = stage.conclude(case, rows, tmp_path)
    (table,) = tmp_path.glob("*.csv")
    with table.open() as stream:
        written = list(csv.DictReader(stream))
    assert len(written) == len(rows)
    assert set(COLUMNS) <= set(written[0])
    numbers = {name for name in written[0] if name not in ("estimator", "damage")}
    assert all(np.isfinite(float(row[name])) for row in written for name in numbers)
    keys = [tuple(row[name] for name in ("sample", "estimator", "step", *FURTHER[kind])) for row in rows]
    assert len(set(keys)) == len(keys)
    if kind in KEYS:
        assert set(keys) == KEYS[kind]
    assert {row["estimator"] for row in rows} >= set(stage.estimators)
    assert all(summary.figures.values())
    for name in summary.pictures:
        pixels = np.asarray(Image.open(tmp_path / name).convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize("kind", [EnergyTrace, Restoration, ExternalField])
def test_a_sample_is_the_same_in_every_share(kind, field_dataset, field_weights):
    weights = field_weights()
    stage, case = experiment(kind, field_dataset, weights), Case.open(field_dataset, weights, "test")
    together = [row for row in stage.measure(case, 0, 3) if row["sample"] == 2]
    alone = stage.measure(case, 2, 1)
    assert len(alone) == len(together) > 0
    for a, b in zip(together, alone):
        assert {name: a[name] for name in ("estimator", "step")} == {name: b[name] for name in ("estimator", "step")}
        # Rounding may differ with the batch; the first steps of a recursion don't amplify it.
        assert a["energy"] == pytest.approx(b["energy"], abs=1e-3)


def test_the_generation_is_of_random_maps_whatever_the_dataset(field_dataset, field_weights):
    weights = field_weights()
    stage, case = experiment(Generation, field_dataset, weights), Case.open(field_dataset, weights, "test")
    rows = stage.measure(case, 1, 1)
    starts = {(row["size"], row["estimator"]): row["energy"] for row in rows if row["step"] == 0}
    for size in (8, 16):
        assert starts[size, "network"] == starts[size, "exact"] == starts[size, "descent"]
        assert starts[size, "annealing"] != starts[size, "network"]


def test_a_labyrinth_in_no_field_starts_as_in_the_dataset(field_dataset, field_weights):
    weights = field_weights()
    case = Case.open(field_dataset, weights, "test")
    stage = experiment(ExternalField, field_dataset, weights, start="labyrinth", first=0)
    rows = [row for row in stage.measure(case, 1, 1) if row["step"] == 0 and row["field"] == 0.0]
    expected = float(energy(case.read(1, 1)[0], case.hamiltonian))
    assert [row["energy"] for row in rows if row["estimator"] != "monte-carlo"] == pytest.approx([expected] * 3)


def test_cooled_start_is_the_state_of_monte_carlo_in_the_same_field(field_dataset, field_weights):
    weights = field_weights()
    case = Case.open(field_dataset, weights, "test")
    rows = experiment(ExternalField, field_dataset, weights, start="cooled", first=0).measure(case, 0, 1)
    for field in (0.0, 0.2):
        energies = {(row["estimator"], row["step"]): row["energy"] for row in rows if row["field"] == field}
        for estimator in ("network", "exact"):
            assert energies[estimator, 0] == pytest.approx(energies["monte-carlo", 10], abs=1e-6)


def test_first_iteration_in_the_whole_field_is_an_iteration_in_the_field(field_dataset, field_weights):
    weights = field_weights()
    case = Case.open(field_dataset, weights, "test")
    options = {"iterations": 2, "every": 1, "fields": [0.2], "estimators": ["exact"], "monte_carlo_samples": 0}
    at_once, later, without = (
        experiment(ExternalField, field_dataset, weights, **options, **protocol).measure(case, 0, 1)
        for protocol in ({"first": 0}, {"first": 1, "first_field": 1.0}, {"first": 1, "first_field": 0.0})
    )
    assert later[0]["energy"] == pytest.approx(at_once[1]["energy"], abs=1e-6)
    assert without[0]["energy"] != pytest.approx(at_once[1]["energy"], abs=1e-6)


@pytest.mark.parametrize("name", ["labyrinth-field", "labyrinth-filed"])
def test_weights_can_name_a_shipped_network(field_dataset, tmp_path, name):
    stage = build(EvaluateFcn, {"dataset": str(field_dataset), "weights": f"pretrained:{name}"}, "")
    if name == "labyrinth-field":
        stage.check(RunDir.at(tmp_path / "run"), {})
    else:
        with pytest.raises(InputError, match="did you mean 'labyrinth-field'"):
            stage.check(RunDir.at(tmp_path / "run"), {})


def test_the_trivial_estimate_stands_beside_the_network(field_dataset, field_weights, tmp_path):
    weights = field_weights()
    case = Case.open(field_dataset, weights, "test")
    stage = build(EvaluateFcn, {"dataset": str(field_dataset), "weights": str(weights), "iterations": 1}, "")
    rows = stage.measure(case, 0, 6)
    summary = stage.conclude(case, rows, tmp_path)
    with (tmp_path / "estimation.csv").open() as stream:
        written = list(csv.DictReader(stream))
    assert [(row["estimator"], row["sample"]) for row in written] == [
        (name, str(n)) for name in ("network", "trivial") for n in range(6)
    ]
    best = np.mean([row["best_isotropic"] for row in rows])
    assert {float(row["best_isotropic"]) for row in written[6:]} == {best}
    spins = case.read(0, 6).astype(np.float64)
    # The energy of F* = c S is -c / 2.
    assert [float(row["energy_estimated"]) for row in written[6:]] == pytest.approx([-best / 2] * 6, rel=1e-5)
    assert np.allclose(np.linalg.norm(spins, axis=-1), 1, atol=1e-5)
    assert f"(F* = {best:.3f} S:" in summary.figures["MSE"]


def test_another_hamiltonian_is_refused_unless_it_is_asked_for(field_dataset, field_weights, tmp_path):
    weights = field_weights(hamiltonian=Hamiltonian(dmi=0.2))
    stage = experiment(Restoration, field_dataset, weights)
    message = r"^dataset: its Hamiltonian is not that of the network's training \(dmi 0.3, not 0.2\); use a dataset"
    with pytest.raises(InputError, match=message):
        job.plan(stage, tmp_path / "run")
    job.plan(experiment(Restoration, field_dataset, weights, other_hamiltonian=True), tmp_path / "run")
    job.plan(experiment(Restoration, field_dataset, field_weights()), tmp_path / "run")


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Generation, {"sizes": [16, 18]}, r"^size: the network's stride of 4 doesn't divide 18 x 18 sites"),
        (Restoration, {"defect_width": 17}, r"^defect_width: a defect of 17 sites does not fit 16 x 16 sites"),
        (EnergyTrace, {"samples": 7}, r"^samples: 7 samples requested"),
    ],
)
def test_what_does_not_fit_is_one_line(kind, changes, message, field_dataset, field_weights, tmp_path):
    with pytest.raises(InputError, match=message):
        job.plan(experiment(kind, field_dataset, field_weights(), **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Generation, {"estimators": ["network", "genie"]}, r"^estimators"),
        (EnergyTrace, {"estimators": []}, r"^estimators"),
        (ExternalField, {"start": "saturated"}, r"^start: unknown value 'saturated'"),
        (Restoration, {"damages": ["fire"]}, r"^damages"),
        (Restoration, {"steps": [0]}, r"^steps"),
    ],
)
def test_unknown_choices_are_one_line(kind, changes, message):
    with pytest.raises(InputError, match=message) as error:
        experiment(kind, Path("data"), Path("w"), **changes)
    assert "\n" not in str(error.value)


def test_weights_of_the_other_network_are_refused(field_dataset, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, SuperResolutionNetConfig(scale=4, expanding_filters=(2,)).build(), {})
    for kind in KINDS:
        with pytest.raises(InputError, match=r"^weights: the network of .* is of the wrong kind for a job of kind"):
            job.plan(experiment(kind, field_dataset, path), tmp_path / "run")
