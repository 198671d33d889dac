"""Sweeps whose points are chosen by Optuna."""

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


def quadratic_loss(segment: Segment) -> float:
    point = dict(segment.trial.point)
    return (math.log10(point["training.learning_rate"]) + 2) ** 2 + (point[NOISE] - 0.3) ** 2


@pytest.fixture
def make_scheduler() -> Callable[..., Halving]:
    return lambda seed=0, asha=None: Halving(
        OptunaSource(Optuna(method="optuna", trials=40, seed=seed, parallel=3), SPACE, MAKER), asha
    )


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_points_do_not_depend_on_the_order_of_results_and_improve(
    make_scheduler: Callable[..., Halving],
) -> None:
    reference = make_scheduler()
    ends = play(reference, quadratic_loss, 1, 0)
    for workers, seed in [(2, 1), (3, 2), (9, 3)]:
        assert play(make_scheduler(), quadratic_loss, workers, seed) == ends
    values = np.array([losses(make_scheduler(seed=seed)) for seed in range(4)])
    # The first ten points of each search are random; later ones have much smaller losses.
    assert np.median(values[:, -15:]) < np.median(values[:, :10]) / 2


def losses(scheduler: Halving) -> list[float]:
    play(scheduler, quadratic_loss, 1, 0)
    return [quadratic_loss(Segment(0, s.trial, EPOCHS)) for s in scheduler.trial_states()]


def test_optuna_with_halving_does_not_depend_on_the_order_of_results(make_scheduler: Callable[..., Halving]) -> None:
    reference = play(make_scheduler(asha=Asha()), quadratic_loss, 1, 0)
    assert play(make_scheduler(asha=Asha()), quadratic_loss, 5, 4) == reference
    assert {end for _, _, end in reference} == {"done", "stopped"}


def test_optuna_can_choose_parameters_of_new_datasets(context: Context, tmp_path: Path) -> None:
    stage = sweep(
        space={"datasets.labyrinth.hamiltonian.dmi": {"uniform": [0.2, 0.4]}},
        search={"method": "optuna", "trials": 3, "seed": 1},
    )
    job.run(stage, tmp_path / "run", context)
    table = rows(tmp_path / "run")
    assert [row["state"] for row in table] == ["done"] * 3
    generated = {Catalog.open(folder).hamiltonian.dmi for folder in (tmp_path / "run" / "datasets").iterdir()}
    assert {float(row["datasets.labyrinth.hamiltonian.dmi"]) for row in table} <= generated
