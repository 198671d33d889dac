"""Courses of sweeps played without training: results come in from several workers in a random order."""

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
    """Every trial's name, last segment and end after results came in from `workers` in a random order."""
    chance = random.Random(seed)
    out: list[Segment] = []
    while True:
        while len(out) < workers and (segment := scheduler.next()) is not None:
            out.append(segment)
        if not out:
            assert scheduler.ended
            return [(s.trial.name, s.until, s.end) for s in scheduler.trial_states()]
        segment = out.pop(chance.randrange(len(out)))
        scheduler.tell(segment, value(segment))
