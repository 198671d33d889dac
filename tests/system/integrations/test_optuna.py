"""Sweeps whose points Optuna chooses."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rayspin import job
from rayspin.job import Context
from rayspin.jobs.tune.schedulers import Asha, Halving, Segment
from rayspin.jobs.tune.search import Optuna, OptunaSource
from rayspin.jobs.tune.space import LogUniform, Uniform
from rayspin.storage import Catalog
from tests.support.schedulers import EPOCHS, MAKER, NOISE, play
from tests.support.sweeps import rows, sweep

pytest.importorskip("optuna")

SPACE = {"training.learning_rate": LogUniform(log_uniform=(1e-4, 1.0)), NOISE: Uniform(uniform=(0, 1))}


def bowl(segment: Segment) -> float:
    point = dict(segment.trial.point)
    return (math.log10(point["training.learning_rate"]) + 2) ** 2 + (point[NOISE] - 0.3) ** 2


@pytest.fixture
def optuna_course() -> Callable[..., Halving]:
    return lambda seed=0, asha=None: Halving(
        OptunaSource(Optuna(method="optuna", trials=40, seed=seed, parallel=3), SPACE, MAKER), asha
    )


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_asks_the_same_whatever_the_order_and_finds_the_best(optuna_course: Callable[..., Halving]) -> None:
    reference = optuna_course()
    ends = play(reference, bowl, 1, 0)
    for workers, seed in [(2, 1), (3, 2), (9, 3)]:
        assert play(optuna_course(), bowl, workers, seed) == ends
    values = np.array([curve(optuna_course(seed=seed)) for seed in range(4)])
    # The first ten of each are random; what is asked for later is better by far.
    assert np.median(values[:, -15:]) < np.median(values[:, :10]) / 2


def curve(scheduler: Halving) -> list[float]:
    play(scheduler, bowl, 1, 0)
    return [bowl(Segment(0, s.trial, EPOCHS)) for s in scheduler.trial_states()]


def test_optuna_and_halving_go_together(optuna_course: Callable[..., Halving]) -> None:
    reference = play(optuna_course(asha=Asha()), bowl, 1, 0)
    assert play(optuna_course(asha=Asha()), bowl, 5, 4) == reference
    assert {end for _, _, end in reference} == {"done", "stopped"}


def test_optuna_may_choose_datasets_that_nobody_made_before(context: Context, tmp_path: Path) -> None:
    searched = sweep(
        space={"datasets.labyrinth.hamiltonian.dmi": {"uniform": [0.2, 0.4]}},
        search={"method": "optuna", "trials": 3, "seed": 1},
    )
    job.run(searched, tmp_path / "run", context)
    found = rows(tmp_path / "run")
    assert [row["state"] for row in found] == ["done"] * 3
    made = {Catalog.open(folder).hamiltonian.dmi for folder in (tmp_path / "run" / "datasets").iterdir()}
    assert {float(row["datasets.labyrinth.hamiltonian.dmi"]) for row in found} <= made
