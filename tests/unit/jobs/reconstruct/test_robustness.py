"""The kind robustness: its cases, resumption, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin.config import build
from rayspin.errors import Incomplete, InputError
from rayspin.jobs.reconstruct.robustness import NAME, Robustness, progress
from rayspin.jobs.stage import Context, execute
from rayspin.physics import LABYRINTH, Degradation
from rayspin.reconstruction import MAP, reconstruct
from rayspin.rundir import RunDir, append_lines
from rayspin.storage import Catalog
from tests.support import datasets
from tests.support.damaged_lines import damage

CASES = ["right assumptions", "dmi 10 % too strong", "dmi of the wrong sign"]


@pytest.fixture(scope="module")
def labyrinths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labyrinths of three periods."""
    job = datasets.labyrinths(2, 64, splits={"test": 2}, schedule="labyrinth")
    return datasets.make(job, tmp_path_factory.mktemp("labyrinths") / "data")


def stage(dataset: Path, **table: Any) -> Robustness:
    table = {"scale": 4, "samples": 2, "methods": ["fourier", "map"], "cases": CASES, "calibrate": False, **table}
    return build(Robustness, {"dataset": str(dataset), **table}, "")


def errors(folder: Path) -> dict[tuple[str, str], float]:
    """The sum of the errors of all fields by case and method."""
    found: dict[tuple[str, str], float] = {}
    with (folder / "robustness.csv").open() as stream:
        for row in csv.DictReader(stream):
            key = row["case"], row["method"]
            found[key] = found.get(key, 0.0) + float(row["mse"])
    return found


def test_wrong_assumptions_make_results_worse_and_a_stopped_run_resumes(dispatcher, labyrinths, tmp_path):
    whole, parts = RunDir.at(tmp_path / "whole"), RunDir.at(tmp_path / "parts")
    stage(labyrinths).check(whole, {})
    summary = execute(stage(labyrinths), whole, Context())
    found = errors(whole.path)
    # The Fourier inverse assumes no Hamiltonian.
    assert len({found[case, "fourier"] for case in CASES}) == 1
    right, strong, opposite = (found[case, "map"] for case in CASES)
    assert right < strong / 3 < opposite / 100

    dispatcher.done, dispatcher.most = [], 2
    with pytest.raises(Incomplete, match="2 of 3 cases done"):
        execute(stage(labyrinths), parts, Context())
    damage(parts.path / NAME, "case", "digest", "rows", among={"case": CASES[1]})
    assert progress(parts, {}) == {"cases": "1 done"}
    assert execute(stage(labyrinths), parts, Context()) == summary
    assert dispatcher.done == [*CASES[:2], *CASES[1:]]
    for name in ("robustness.csv", "robustness.png"):
        assert (parts.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_plan_counts_cases_of_the_same_data(dataset, tmp_path):
    run, digest = RunDir.at(tmp_path / "run"), Catalog.open(dataset).reader("test").digest
    run.path.mkdir()
    for made_with, left in (("other data", 3), (digest, 2)):
        append_lines(run.path / NAME, [{"case": CASES[0], "digest": made_with, "rows": []}])
        assert stage(dataset).plan(run, {}).figures["cases"] == f"3, {3 - left} done"


def test_labels_distinguish_options_of_a_method(dataset):
    weak = {"method": "map", "label": "weak map", "options": {"weight": 3.0}}
    compared = stage(dataset, methods=["fourier", weak, "map"], calibrate=True).approaches()
    assert list(compared) == ["fourier", "weak map", "map", "calibrated map"]
    coarse, results = Degradation().apply(Catalog.open(dataset).reader("test").read([0]), 4), {}
    for name in ("weak map", "map"):
        results[name] = compared[name](coarse, 4, LABYRINTH)
        weight = 3.0 if name == "weak map" else None
        expected = reconstruct(coarse, 4, MAP(weight=weight), hamiltonian=LABYRINTH).spins
        np.testing.assert_allclose(results[name], expected, atol=1e-5)
    assert np.abs(results["weak map"] - results["map"]).max() > 1e-4


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"methods": ["map", {"method": "map", "options": {"weight": 3}}]}, "methods: 'map' occurs twice"),
        ({"methods": ["network"]}, "methods: 'network' can't be used here"),
        ({"methods": ["maps"]}, r"methods.0.method: unknown method 'maps'"),
        ({"cases": ["dipole 10 % too strong"]}, "cases: unknown name 'dipole 10 % too strong'"),
        ({"samples": 6}, "samples: 6 samples requested, and the split 'test' has 5"),
        ({"scale": 5}, "32 x 32 sites don't divide"),
    ],
)
def test_jobs_that_do_not_fit_are_refused(dataset, tmp_path, table, message):
    with pytest.raises(InputError, match=message):
        stage(dataset, **table).check(RunDir.at(tmp_path / "run"), {})
