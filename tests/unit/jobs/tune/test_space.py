"""Search spaces and their trials: names, random points, and one-line errors before anything runs."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.tune.job import Tune
from rayspin.jobs.tune.search import Grid
from rayspin.jobs.tune.space import Integers, LogUniform, Uniform, Values, drawn, short_names
from rayspin.models import EffectiveFieldNetConfig, FieldUNetConfig

TRAINING = {"kind": "train-sr", "dataset": "runs/generate", "network": {"scale": 4}}
FIELDS = {"kind": "generate", "samples": 4, "size": 16, "hamiltonian": "labyrinth"}
LABYRINTHS = {**FIELDS, "splits": {"validation": 1, "test": 0}}


def sweep(**changes: object) -> Tune:
    table = {"kind": "tune", "base": TRAINING, "space": {"network.scale": [4, 8]}}
    return build(Tune, {**table, **changes}, "job.toml")


def test_a_grid_has_every_combination_the_last_axis_fastest() -> None:
    trials = sweep(space={"network.scale": [4, 8], "objective.noise_amplitude": [0.0, 0.1, 0.2]}).trials()
    points = [(t.job.network.scale, t.job.objective.noise_amplitude) for t in trials]  # type: ignore[union-attr]
    assert points == [(4, 0.0), (4, 0.1), (4, 0.2), (8, 0.0), (8, 0.1), (8, 0.2)]


def test_a_swept_architecture_starts_from_its_own_defaults() -> None:
    base = {"kind": "train-fcn", "dataset": "runs/generate", "network": {"architecture": "u-net", "filters": [8, 16]}}
    space = {"network.patch": [2], "network.architecture": ["u-net", "encoder-decoder"]}
    with pytest.raises(InputError, match=r"network\.patch: unknown key"):
        sweep(base=base, space=space).trials()
    same, other = sweep(base=base, space={"network.architecture": ["u-net", "encoder-decoder"]}).trials()
    assert same.job.network == FieldUNetConfig(filters=(8, 16))  # type: ignore[union-attr]
    assert other.job.network == EffectiveFieldNetConfig()  # type: ignore[union-attr]


def test_a_name_follows_from_the_resolved_job_alone() -> None:
    one = sweep(space={"network.scale": [4, 8]}).trials()
    other = sweep(
        base={**TRAINING, "network": {"scale": 8}, "training": {"epochs": 100}, "resources": {"workers": 1}},
        space={"objective.noise_amplitude": [0.0], "network.scale": [8, 4, 16]},
    ).trials()
    assert [t.name for t in one] == [other[1].name, other[0].name]
    assert len({t.name for t in other}) == 3


def test_a_place_in_a_vector_is_an_axis() -> None:
    trials = sweep(base=FIELDS, space={"hamiltonian.external_field.2": [0.0, 0.05]}).trials()
    assert [t.job.hamiltonian.external_field for t in trials] == [(0, 0, 0.0), (0, 0, 0.05)]  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"has no item '3'; give a number from 0 to 2"):
        sweep(base=FIELDS, space={"hamiltonian.external_field.3": [0.1]})


def test_values_may_be_tables_and_texts() -> None:
    hamiltonians = ["labyrinth", {"dipole": 0.03, "anisotropy": 0.2}]
    trials = sweep(base=FIELDS, space={"hamiltonian": hamiltonians, "schedule": ["domain", "labyrinth"]}).trials()
    assert [t.job.hamiltonian.dipole for t in trials] == [0, 0, 0.03, 0.03]  # type: ignore[union-attr]
    assert trials[0].job.schedule.quench_overshoot == 0.9  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"network.scal": [4]}}, "space: network.scal: unknown key; did you mean 'scale'?"),
        ({"space": {"networks.scale": [4]}}, "space: networks: unknown key; did you mean 'network'?"),
        ({"space": {"network.scale": [4, 5]}}, "space: network.scale"),
        ({"space": {"training.epochs": [2.5]}}, "space: training.epochs: 2.5 is invalid; write a whole number"),
        ({"space": {"network.scale": []}}, "space.network.scale: no values; give at least one"),
        ({"space": {"training.learning_rate": {"log_unifrom": [1e-4, 1]}}}, "did you mean 'log_uniform'?"),
        ({"space": {"training.learning_rate": {"log_uniform": [0, 1]}}}, "both above 0"),
        (
            {"space": {"training.learning_rate": {"uniform": [1, 0.5]}}},
            "[1, 0.5] is not a range; give the lower bound first",
        ),
        ({"space": {"training.learning_rate": {"uniform": [0.1, 0.5]}}}, "a grid needs a list of values"),
        ({"space": {"training.epochs": {"uniform": [1, 8]}}, "search": {"method": "random", "trials": 2}}, "epochs"),
        ({"space": {"resources.workers": [1, 2]}}, "space.resources.workers: resources do not change results"),
        ({"search": {"method": "optun", "trials": 2}}, "unknown value 'optun'; did you mean 'optuna'?"),
        ({"search": {"method": "random", "trial": 2}}, "trial: unknown key; did you mean 'trials'?"),
        ({"base": {"kind": "restoration", "dataset": "a", "weights": "b"}}, "'restoration' cannot be swept"),
        ({"base": FIELDS, "space": {"seed": [1, 2]}, "asha": {}}, "a dataset has no epochs after which to stop it"),
        (
            {"space": {"datasets.labyrint.seed": [1]}, "datasets": {"labyrinth": LABYRINTHS}},
            "no such dataset; did you mean 'labyrinth'?",
        ),
        (
            {"search": {"method": "population", "members": 4, "interval": 1}},
            "space.network.scale: cannot change during a training",
        ),
        (
            {
                "base": {"kind": "train-fcn", "dataset": "runs/generate"},
                "space": {"objective.target": ["field", "deviation"]},
                "search": {"method": "population", "members": 4, "interval": 1},
            },
            "space.objective.target: cannot change during a training; use keys of training and objective, except",
        ),
        ({"metrics": "fine_mse"}, "metrics: unknown key; did you mean 'metric'?"),
        ({"metric": "fine_mes"}, "metric: no trial reports 'fine_mes'; did you mean 'fine_mse'?"),
        ({"metric": "energy"}, "metric: no trial reports 'energy'; known: best_epoch, fine_correlation, fine_mse, "),
        (
            {
                "space": {"training.learning_rate": [0.01, 0.1]},
                "base": TRAINING | {"training": {"patience": 3}},
                "search": {"method": "population", "members": 4, "interval": 1},
            },
            "base.training.patience: the members of a population must have the same number of epochs; remove patience",
        ),
        (
            {"base": TRAINING | {"resources": {"workers": 2}}, "resources": {"trials_per_gpu": 2}},
            "resources.trials_per_gpu: a trial with several workers cannot share GPUs",
        ),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        sweep(**changes)
    assert str(caught.value).startswith("job.toml: ")
    assert "\n" not in str(caught.value)


def test_draws_have_the_distributions_they_say() -> None:
    space = {
        "u": Uniform(uniform=(-1, 3)),
        "l": LogUniform(log_uniform=(1e-4, 1e-1)),
        "n": Integers(integers=(2, 5)),
        "v": Values(values=("a", "b")),
    }
    points = [dict(drawn(space, 3, number)) for number in range(4000)]
    uniform = np.array([p["u"] for p in points])
    logs = np.log10([p["l"] for p in points])
    # Four standard errors of the mean of a uniform distribution of width w: 4 w / sqrt(12 n).
    assert abs(uniform.mean() - 1) < 4 * 4 / math.sqrt(12 * 4000)
    assert abs(logs.mean() + 2.5) < 4 * 3 / math.sqrt(12 * 4000)
    assert uniform.min() >= -1
    assert uniform.max() <= 3
    counts = np.bincount([p["n"] for p in points], minlength=6)
    assert (counts[:2] == 0).all()
    # Four standard deviations of a binomial count with p = 1/4.
    assert (abs(counts[2:] - 1000) < 4 * math.sqrt(4000 * 3 / 16)).all()
    assert abs(sum(p["v"] == "a" for p in points) - 2000) < 4 * math.sqrt(1000)
    assert abs(np.corrcoef(uniform, logs)[0, 1]) < 4 / math.sqrt(4000)


def test_more_trials_or_another_axis_leave_the_draws_as_they_are() -> None:
    rate = {"training.learning_rate": {"log_uniform": [1e-4, 1e-1]}}
    noise = {"objective.noise_amplitude": {"uniform": [0, 1]}}
    few = sweep(space=rate, search={"method": "random", "trials": 5, "seed": 1}).trials()
    many = sweep(space=rate, search={"method": "random", "trials": 9, "seed": 1}).trials()
    assert [t.name for t in many[:5]] == [t.name for t in few]
    wide = sweep(space={**noise, **rate}, search={"method": "random", "trials": 5, "seed": 1}).trials()
    assert [dict(t.point)["training.learning_rate"] for t in wide] == [t.point[0][1] for t in few]
    other = sweep(space=rate, search={"method": "random", "trials": 5, "seed": 2}).trials()
    assert not {t.name for t in other} & {t.name for t in few}


def test_points_that_are_drawn_twice_are_one_trial() -> None:
    trials = sweep(space={"network.scale": [4, 8]}, search={"method": "random", "trials": 50}).trials()
    assert sorted(t.job.network.scale for t in trials) == [4, 8]  # type: ignore[union-attr]


def test_a_dataset_of_the_sweep_is_part_of_the_name_of_its_trials() -> None:
    def names(seed: int, **space: object) -> list[str]:
        datasets = {"labyrinth": {**LABYRINTHS, "seed": seed}, "domain": {**LABYRINTHS, "hamiltonian": "domain"}}
        base = {**TRAINING, "dataset": "@labyrinth"}
        return [t.name for t in sweep(base=base, datasets=datasets, space={"network.scale": [4], **space}).trials()]

    assert names(1) != names(2)
    both = names(1, dataset=["@labyrinth", "@domain"])
    assert both[0] == names(1)[0]
    assert both[1] == names(2, dataset=["@domain"])[0]
    # A key of the dataset can be an axis.
    assert names(5, **{"datasets.labyrinth.seed": [1, 2]}) == [names(1)[0], names(2)[0]]


def test_short_names_are_the_last_words_that_tell_keys_apart() -> None:
    keys = ["network.scale", "hamiltonian.external_field.2", "training.seed", "datasets.a.seed"]
    assert list(short_names(keys).values()) == ["scale", "external_field_2", "training_seed", "a_seed"]


def test_a_name_that_a_figure_has_is_not_taken_by_an_axis() -> None:
    keys = ["hamiltonian.energy", "seed"]
    assert list(short_names(keys, {"energy", "seed"}).values()) == ["hamiltonian_energy", "seed_swept"]


def test_ten_thousand_points_are_distinct_jobs() -> None:
    rates = [1e-4 * 1.01**step for step in range(100)]
    noise = [0.01 * step for step in range(100)]
    job = sweep(space={"training.learning_rate": rates, "objective.noise_amplitude": noise})
    assert isinstance(job.search, Grid)
    assert len({t.name for t in job.trials()}) == 10_000
