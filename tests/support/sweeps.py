"""A small sweep, what it leaves, and how to run one without Ray."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from rayspin import job
from rayspin.config import build
from rayspin.job import Context
from rayspin.jobs.tune.job import Tune
from rayspin.jobs.tune.outcomes import Failed, Finished
from rayspin.jobs.tune.segment_queue import SegmentQueue
from rayspin.jobs.tune.segments import SegmentRunner
from rayspin.rundir import RunDir
from tests.support.serial import make_shards_here

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


def run_trials_here(swept: Tune, run: RunDir, context: Context, queue: SegmentQueue) -> None:
    """What stands in for Ray Tune: `Tune._run_trials` with its arguments."""
    runner = SegmentRunner(run, Path.cwd())
    while (segment := queue.next()) is not None:
        outcome = runner.execute(segment)
        assert isinstance(outcome, Finished | Failed)
        queue.take(segment, outcome)


def run_here(patch: pytest.MonkeyPatch) -> None:
    """Let sweeps make their datasets and run their trials in this process."""
    make_shards_here(patch.setattr)
    patch.setattr(Tune, "_run_trials", run_trials_here)


def table_of(swept: Tune, folder: Path) -> bytes:
    """The table that a sweep ends with where nothing happens to it."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        job.run(swept, folder, Context())
    torch.set_num_threads(threads)
    return (folder / "trials.csv").read_bytes()
