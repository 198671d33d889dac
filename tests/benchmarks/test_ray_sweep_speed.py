"""Overhead of a sweep in addition to its trials; `make bench` gives figures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rayspin.execution.session import Session
from rayspin.job import Context
from rayspin.jobs.tune.job import Tune
from rayspin.jobs.tune.ledger import Ledger
from rayspin.jobs.tune.outcomes import Finished, Outcome
from rayspin.jobs.tune.schedulers import Halving, Segment
from rayspin.jobs.tune.search import Listed
from rayspin.jobs.tune.segment_queue import SegmentQueue
from rayspin.jobs.tune.segments import SegmentRunner
from rayspin.rundir import RunDir
from tests.support import datasets
from tests.support.grids import square_grid


@dataclass(frozen=True)
class BusyRunner(SegmentRunner):
    """Run trials that keep a core busy for `busy_s` seconds and train nothing."""

    busy_s: float = 0.0

    def execute(self, segment: Segment) -> Outcome:
        start = time.time()
        while time.time() < start + self.busy_s:
            pass
        times = {"start": start, "end": time.time()}
        return Finished({"validation_loss": 1.0, **times}, segment.until, 0.0, "here")


def run(session: Session, sweep: Tune, folder: Path, busy_s: float) -> list[dict[str, float]]:
    """Run a sweep of such trials, and return their start and end times, measured by the actors."""
    from rayspin.jobs.tune.engine import ResourcesPerTrial, run_segments

    session.ray()
    folder.mkdir(parents=True)
    queue = SegmentQueue(Halving(Listed(sweep.trials())), Ledger(folder), ("validation_loss", False))
    run_segments(
        Context(session), queue, BusyRunner(RunDir.at(folder), folder, busy_s=busy_s), ResourcesPerTrial(), None
    )
    assert queue.ended
    return [next(iter(entry.results.values())) for entry in queue.ledger.trials.values()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = datasets.labyrinths(8, 16, splits={"test": 0, "validation": 4})
    return datasets.make(small, tmp_path_factory.mktemp("data") / "data")


def test_overhead_per_trial(
    benchmark: Any, ray_session: Session, data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Time per trial of trials that do nothing on two reused actors, without the start of the actors."""
    side = 8 if request.config.getoption("--benchmark-enable") else 3
    times = benchmark.pedantic(run, (ray_session, square_grid(data, side), tmp_path / "run", 0.0), rounds=1)
    ends = sorted(time["end"] for time in times)
    benchmark.extra_info["seconds_a_trial_and_core"] = 2 * (ends[-1] - ends[1]) / (len(ends) - 2)


def test_utilization_of_cores(
    benchmark: Any, ray_session: Session, data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Fraction of the time between the first start and the last end in which actors ran trials of equal length."""
    enabled = request.config.getoption("--benchmark-enable")
    sweep = square_grid(data, 4 if enabled else 2)
    times = benchmark.pedantic(run, (ray_session, sweep, tmp_path / "run", 5.0 if enabled else 0.2), rounds=1)
    span = max(time["end"] for time in times) - min(time["start"] for time in times)
    benchmark.extra_info["busy"] = sum(time["end"] - time["start"] for time in times) / (2 * span)
