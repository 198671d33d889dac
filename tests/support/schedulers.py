"""Simulation of a sweep without training: several workers return results in random order."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from rayspin.jobs.tune.schedulers import Scheduler, Segment
from rayspin.jobs.tune.trials import Trial, TrialBuilder

EPOCHS = 27
MAKER = TrialBuilder(
    {"kind": "train-sr", "dataset": "data", "network": {"scale": 4}, "training": {"epochs": EPOCHS, "batch_size": 4}}
)
NOISE = "objective.noise_amplitude"


def trials(count: int) -> list[Trial]:
    order = np.random.default_rng(7).permutation(count)
    return [MAKER.trial(((NOISE, float(number)),)) for number in order]


def play(
    scheduler: Scheduler, value: Callable[[Segment], float | None], workers: int, seed: int
) -> list[tuple[str, int, str]]:
    """Return the name, last segment and end of each trial, with results from `workers` workers in random order."""
    rng = random.Random(seed)
    out: list[Segment] = []
    while True:
        while len(out) < workers and (segment := scheduler.next()) is not None:
            out.append(segment)
        if not out:
            assert scheduler.ended
            return [(s.trial.name, s.until, s.end) for s in scheduler.trial_states()]
        segment = out.pop(rng.randrange(len(out)))
        scheduler.tell(segment, value(segment))
