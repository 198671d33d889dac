"""Courses of sweeps played without training: results come in from several workers in a random order."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from rayspin.jobs.tune.course import Course, Leg
from rayspin.jobs.tune.trials import Maker, Trial

EPOCHS = 27
MAKER = Maker(
    {"kind": "train-sr", "dataset": "data", "network": {"scale": 4}, "training": {"epochs": EPOCHS, "batch_size": 4}}
)
NOISE = "objective.noise_amplitude"


def trials(count: int) -> list[Trial]:
    order = np.random.default_rng(7).permutation(count)
    return [MAKER.trial(((NOISE, float(number)),)) for number in order]


def play(course: Course, value: Callable[[Leg], float | None], workers: int, seed: int) -> list[tuple[str, int, str]]:
    """Every trial's name, last leg and end after results came in from `workers` in a random order."""
    chance = random.Random(seed)
    out: list[Leg] = []
    while True:
        while len(out) < workers and (leg := course.next()) is not None:
            out.append(leg)
        if not out:
            assert course.ended
            return [(s.trial.name, s.until, s.end) for s in course.standings()]
        leg = out.pop(chance.randrange(len(out)))
        course.tell(leg, value(leg))
