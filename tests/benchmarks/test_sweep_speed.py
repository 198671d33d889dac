"""What a sweep costs beside its trials. Run with --benchmark-enable for figures."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray.cloudpickle
from click.testing import CliRunner

from rayspin import job
from rayspin.cli import main
from rayspin.cluster.generate import Generate, make_here
from rayspin.cluster.session import Session
from rayspin.cluster.sweep.course import Halving, Leg
from rayspin.cluster.sweep.feed import Feed
from rayspin.cluster.sweep.ledger import Ledger
from rayspin.cluster.sweep.legs import Work
from rayspin.cluster.sweep.search import Listed
from rayspin.cluster.tune import Tune
from rayspin.config import build
from rayspin.job import Context
from rayspin.rundir import RunDir

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

# Actors can't import test modules: the class travels by value.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Pretend(Work):
    """Trials that keep a core busy for a while, or do nothing."""

    busy_s: float = 0.0

    def do(self, leg: Leg) -> dict[str, Any]:
        start = time.time()
        while time.time() < start + self.busy_s:
            pass
        times = {"start": start, "end": time.time()}
        return {"figures": {"validation_loss": 1.0, **times}, "epochs": leg.until, "seconds": 0.0, "host": ""}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "data"
    table = {"samples": 8, "size": 16, "hamiltonian": "labyrinth", "splits": {"test": 0, "validation": 4}}
    small = build(Generate, {**table, "schedule": {"sweeps": 5, "quench_sweeps": 5}}, "")
    with RunDir.at(folder).claimed(small.identity()):
        make_here(small, folder)
    return folder


def sweep(data: Path, side: int) -> Tune:
    """A grid of side x side points."""
    base = {"kind": "train-sr", "dataset": str(data), "network": {"scale": 4}, "training": {"batch_size": 4}}
    rates, noise = ([1e-4 * 1.05**step for step in range(side)], [0.01 * step for step in range(side)])
    return build(
        Tune, {"base": base, "space": {"training.learning_rate": rates, "objective.noise_amplitude": noise}}, ""
    )


def run(session: Session, swept: Tune, folder: Path, busy_s: float) -> list[dict[str, float]]:
    """When each trial began and ended, by the actors' clock."""
    from rayspin.cluster.sweep.engine import Needs, run_legs

    session.ray()
    folder.mkdir(parents=True)
    feed = Feed(Halving(Listed(swept.trials())), Ledger(folder), ("validation_loss", False))
    run_legs(Context(session), feed, Pretend(RunDir.at(folder), folder, busy_s=busy_s), Needs(), None)
    assert feed.ended
    return [next(iter(entry.results.values())) for entry in feed.ledger.trials.values()]


def test_overhead_of_a_trial(
    benchmark: Any, ray_session: Session, data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """No-op trials on two reused actors: what is left is overhead; `extra_info` leaves out the start of the actors."""
    side = 8 if request.config.getoption("--benchmark-enable") else 3
    times = benchmark.pedantic(run, (ray_session, sweep(data, side), tmp_path / "run", 0.0), rounds=1)
    ends = sorted(time["end"] for time in times)
    benchmark.extra_info["seconds_a_trial_and_core"] = 2 * (ends[-1] - ends[1]) / (len(ends) - 2)


def test_cores_are_busy(
    benchmark: Any, ray_session: Session, data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Equal trials: the share of the time between first start and last end in which an actor was at work."""
    enabled = request.config.getoption("--benchmark-enable")
    swept = sweep(data, 4 if enabled else 2)
    times = benchmark.pedantic(run, (ray_session, swept, tmp_path / "run", 5.0 if enabled else 0.2), rounds=1)
    span = max(time["end"] for time in times) - min(time["start"] for time in times)
    benchmark.extra_info["busy"] = sum(time["end"] - time["start"] for time in times) / (2 * span)


def test_ten_thousand_points_planned_and_listed(benchmark: Any, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(job.to_toml(sweep(data, 100)))
    arguments = ["plan", str(path), "--out", str(tmp_path / "run"), "--trials"]
    result = benchmark.pedantic(lambda: CliRunner().invoke(main, arguments), rounds=1)
    assert result.output.count(" waiting ") == 10_000


def test_status_of_ten_thousand_points(benchmark: Any, data: Path, tmp_path: Path) -> None:
    swept = sweep(data, 100)
    with RunDir.at(tmp_path).claimed(swept.identity()):
        ledger = Ledger(tmp_path)
        trials = swept.trials()
        ledger.plan(trials)
        with (tmp_path / "trials.jsonl").open("a") as stream:
            for number, trial in enumerate(trials):
                figures = {"validation_loss": 1 / (number + 1), "fine_mse": 0.1, "training_loss": 0.2}
                line = {"trial": trial.name, "until": 100, "entered": "2026-01-01T00:00:00"}
                result = {"figures": figures, "epochs": 100, "seconds": 1.0, "host": "n1"}
                stream.write(json.dumps({"event": "result", **line, **result}) + "\n")
                stream.write(json.dumps({"event": "ended", **line, "how": "done"}) + "\n")
    result = benchmark(lambda: CliRunner().invoke(main, ["status", str(tmp_path)]))
    assert "10000: 10000 done" in result.output
    assert trials[-1].name in result.output
