"""Time of `plan` and `status` for sweeps with ten thousand points; `make bench` gives figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rayspin import job
from rayspin.cli import main
from rayspin.jobs.tune.ledger import Ledger
from rayspin.rundir import RunDir
from tests.support import datasets
from tests.support.grids import square_grid


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = datasets.labyrinths(8, 16, splits={"test": 0, "validation": 4})
    return datasets.make(small, tmp_path_factory.mktemp("data") / "data")


@pytest.fixture
def side(benchmark: Any) -> int:
    """Number of points along each side of the grid: 100, or 5 in a test."""
    return 100 if benchmark.enabled else 5


def test_plan_of_ten_thousand_points(benchmark: Any, data: Path, side: int, tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(job.to_toml(square_grid(data, side)))
    arguments = ["plan", str(path), "--out", str(tmp_path / "run"), "--trials"]
    result = benchmark.pedantic(lambda: CliRunner().invoke(main, arguments), rounds=1)
    assert result.output.count(" waiting ") == side**2


def test_status_of_ten_thousand_points(benchmark: Any, data: Path, side: int, tmp_path: Path) -> None:
    sweep = square_grid(data, side)
    with RunDir.at(tmp_path).claimed(sweep.identity()):
        ledger = Ledger(tmp_path)
        trials = sweep.trials()
        ledger.plan(trials)
        with (tmp_path / "trials.jsonl").open("a") as stream:
            for number, trial in enumerate(trials):
                figures = {"validation_loss": 1 / (number + 1), "fine_mse": 0.1, "training_loss": 0.2}
                line = {"trial": trial.name, "until": 100, "entered": "2026-01-01T00:00:00"}
                result = {"figures": figures, "epochs": 100, "seconds": 1.0, "host": "n1"}
                stream.write(json.dumps({"event": "result", **line, **result}) + "\n")
                stream.write(json.dumps({"event": "ended", **line, "how": "done"}) + "\n")
    result = benchmark(lambda: CliRunner().invoke(main, ["status", str(tmp_path)]))
    assert f"{side**2}: {side**2} done" in result.output
    assert trials[-1].name in result.output
