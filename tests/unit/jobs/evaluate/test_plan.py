"""Plans of evaluations: remaining samples, and work that is extrapolated from parts of it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from rayspin import job
from rayspin.config import build
from rayspin.jobs.evaluate.energy_trace import EnergyTrace
from rayspin.jobs.evaluate.external_field import ExternalField
from rayspin.jobs.evaluate.generation import Generation
from rayspin.jobs.evaluate.ledger import MeasuredShare, ShareLedger
from rayspin.jobs.evaluate.restoration import Restoration
from rayspin.jobs.stand_in import seconds_of
from rayspin.rundir import RunDir

SCHEDULE = {"sweeps": 6, "quench_sweeps": 4}
LONG = {
    EnergyTrace: {"iterations": 60},
    Restoration: {"defect_width": 4, "steps": [3]},
    Generation: {"sizes": [8, 16, 32], "iterations": 4, "schedule": SCHEDULE, "sweeps": 9},
    ExternalField: {
        "fields": [0.0, 0.1, 0.2], "iterations": 60, "every": 20, "descent_sweeps": 60, "monte_carlo_samples": 1,
        "schedule": SCHEDULE,
    },
}  # fmt: skip


def experiment(kind: type, dataset: Path, weights: Path, **more: Any) -> Any:
    table = {"dataset": str(dataset), "weights": str(weights), "samples": 2, **LONG[kind], **more}
    return build(kind, table, "")


@pytest.mark.parametrize("kind", LONG)
def test_the_parts_stand_for_the_whole_work(kind, field_dataset, field_weights, tmp_path):
    """The network sees as many sites in the parts, as often as they are counted, as in the evaluation of a sample."""
    stage = experiment(kind, field_dataset, field_weights())
    case = stage.stand_in(RunDir.at(tmp_path / "run"), {})
    sites: list[int] = []
    case.network.register_forward_hook(lambda _module, inputs, _output: sites.append(math.prod(inputs[0].shape[-2:])))

    def seen(part: Any) -> int:
        sites.clear()
        part.measure(case, 0, 1)
        return sum(sites)

    whole = seen(stage)
    parts = [(seen(part), times) for part, times in stage.timed_parts(1)]
    assert sum(each * times for each, times in parts) == pytest.approx(whole, rel=0.15)
    assert sum(each for each, _ in parts) <= whole
    assert sum(times for _, times in stage.timed_parts(7)) >= sum(times for _, times in stage.timed_parts(1))


def test_a_start_that_is_cooled_in_the_field_is_timed_for_each_sample_and_field(field_dataset, field_weights):
    weights = field_weights()
    times = {
        (start, samples): experiment(ExternalField, field_dataset, weights, start=start).timed_parts(samples)[1][1]
        for start in ("random", "cooled")
        for samples in (1, 5)
    }
    assert times == {("random", 1): 3, ("random", 5): 3, ("cooled", 1): 6, ("cooled", 5): 18}


def test_finished_shares_are_not_planned_again(field_dataset, field_weights, tmp_path):
    stage = experiment(EnergyTrace, field_dataset, field_weights(), samples=3)
    run = RunDir.at(tmp_path / "run")
    plan = job.plan(stage, run.path)
    assert plan.figures["samples"] == "3 of the split 'test', 0 done"
    assert plan.core_seconds > 0
    assert plan.pieces == 2  # shares of two samples
    run.path.mkdir()
    case = stage.open(stage.places(run))
    ShareLedger(run.path, "other data").append((0, 2), MeasuredShare([{"sample": 0}], 1.0))
    assert job.plan(stage, run.path).figures["samples"] == "3 of the split 'test', 0 done"
    ShareLedger(run.path, case.digest).append((0, 2), MeasuredShare([{"sample": 0}], 1.0))
    assert job.plan(stage, run.path).figures["samples"] == "3 of the split 'test', 2 done"
    ShareLedger(run.path, case.digest).append((2, 1), MeasuredShare([{"sample": 2}], 1.0))
    plan = job.plan(stage, run.path)
    assert (plan.core_seconds, plan.pieces) == (0.0, 0)


def test_a_plan_leaves_the_number_of_threads_as_it_was(field_dataset, field_weights, tmp_path):
    threads = torch.get_num_threads()
    job.plan(experiment(EnergyTrace, field_dataset, field_weights()), tmp_path / "run")
    assert torch.get_num_threads() == threads


def test_the_compilation_in_the_first_call_is_not_counted() -> None:
    pauses = iter([0.3, 0.0])
    assert seconds_of(lambda: time.sleep(next(pauses))) < 0.3
    assert next(pauses, None) is None
