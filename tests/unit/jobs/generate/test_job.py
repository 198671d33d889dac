"""Jobs of kind "generate" without Ray: settings, cost, and reports of failures."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from rayspin import job
from rayspin.config import build
from rayspin.errors import Incomplete, InputError, RunError
from rayspin.execution.stopping import StopRequest
from rayspin.execution.work_queue import FailedItem, Unfinished
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.recorder import settle
from rayspin.physics import DOMAIN_SCHEDULE, LABYRINTH_SCHEDULE
from rayspin.rundir import RunDir
from tests.support import datasets
from tests.support.repository import JOBS

SMALL = datasets.labyrinths(12, 16, seed=5, shard_samples=4, splits={"test": 2, "validation": 3})


def test_a_stop_with_a_poison_sample_is_a_stop_and_keeps_the_traceback(tmp_path: Path) -> None:
    outcome = Unfinished([FailedItem((4, 4), "ValueError: no", "Traceback of it")], [(8, 4)])
    stop = StopRequest()
    with stop.draining():
        stop._handle_signal(signal.SIGTERM, None)
    with pytest.raises(Incomplete, match="stopped by SIGTERM with 4 of 12 samples done") as caught:
        settle(tmp_path, SMALL, outcome, stop, "4 of 12 samples done")
    assert caught.value.exit_code == 75
    assert (tmp_path / "failed-00000004.txt").read_text() == "Traceback of it"
    with pytest.raises(RunError, match=r"1 shard failed, the first \(samples 4 to 7\) with ValueError: no"):
        settle(tmp_path, SMALL, Unfinished(outcome.failed, []), StopRequest(), "8 of 12 samples done")


@pytest.mark.parametrize(("hamiltonian", "schedule"), [("labyrinth", LABYRINTH_SCHEDULE), ("domain", DOMAIN_SCHEDULE)])
def test_a_job_that_names_no_schedule_has_the_measured_one(hamiltonian, schedule):
    assert build(Generate, {"samples": 1, "hamiltonian": hamiltonian}, "job.toml").schedule == schedule


@pytest.mark.parametrize(
    ("name", "overrides", "samples", "held_back"),
    [
        # Sci. Rep. 11 (2021): 25,000 to train, 5,000 to validate, 100 to test; 13 (2023): 40,000 and 100 of each kind.
        ("generate_labyrinth", [], 30_100, {"test": 100, "validation": 5000}),
        ("generate_labyrinth", ["samples=40100", "splits.validation=100"], 40_100, {"test": 100, "validation": 100}),
        ("generate_domain", [], 40_100, {"test": 100, "validation": 100}),
    ],
)
def test_job_files_ask_for_as_many_samples_as_the_papers_have(
    name: str, overrides: list[str], samples: int, held_back: dict[str, int]
) -> None:
    asked = job.load(JOBS / f"{name}.toml", overrides)
    assert isinstance(asked, Generate)
    assert (asked.samples, asked.size, dict(asked.splits)) == (samples, (128, 128), held_back)


def test_a_seed_is_one_that_fits_into_a_coordinate() -> None:
    with pytest.raises(InputError, match="seed: "):
        build(Generate, SMALL.to_table() | {"seed": 2**63}, "")


@pytest.mark.timeout(120)
def test_a_plan_of_huge_samples_looks_at_some_sweeps_of_one(tmp_path: Path) -> None:
    """One complete sample of this job takes half an hour."""
    huge = Generate.model_validate(
        SMALL.to_table() | {"size": 1024, "schedule": {"sweeps": 1_000_000, "quench_sweeps": 20}}
    )
    found = huge.plan(RunDir.at(tmp_path / "data"), {})
    # 2^20 spins, 10^6 sweeps: every core does less than 10 updates per ns and takes less than 100 ns per update.
    assert 1e2 < found.core_seconds / 12 < 1e5
