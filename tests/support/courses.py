"""Simulation of the course of a sweep without training: several workers return results in random order."""

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
    """Return the name, last leg and end of each trial, with results from `workers` workers in random order."""
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
