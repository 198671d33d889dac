"""How the points of a sweep are chosen: the `[search]` table of a job, and the sources of trials it stands for.

A source is asked for trial after trial and told, in the order of the trials, what became of them. It draws on nothing
else, so a sweep that is played again from its ledger asks for the same trials.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import pydantic

from rayspin.config import Config, build, suggestion
from rayspin.errors import InputError
from rayspin.jobs.tune.space import MOST_TRIALS, Axis, Integers, LogUniform, SearchPoint, Values, drawn
from rayspin.jobs.tune.trials import Trial, TrialBuilder
from rayspin.rng import seed_words


class Source(Protocol):
    """Where trials come from."""

    count: int
    """How many trials there will be, as far as is known."""

    def next(self) -> Trial | None:
        """The next trial, or None: until more is told if `ended` is false, for good if it is true."""

    @property
    def ended(self) -> bool:
        """Whether every trial has been given out."""

    def settled(self, value: float | None) -> None:
        """The next trial in order has ended with this value, the less the better; None if it failed."""


class Grid(Config):
    """Every combination of the values of all axes."""

    method: Literal["grid"] = "grid"

    def points(self, space: Mapping[str, Axis]) -> Iterator[SearchPoint]:
        """The points in order, the last axis fastest.

        Raises:
            InputError: an axis is a range, or there are too many.
        """
        count = math.prod(len(axis.values) for axis in space.values() if isinstance(axis, Values))
        if count > MOST_TRIALS:
            problem, remedy = f"has {count} points", f'give at most {MOST_TRIALS}, or search.method = "random"'
            raise InputError("space", problem, remedy)
        for key, axis in space.items():
            if not isinstance(axis, Values):
                raise InputError(
                    f"space.{key}", "a grid takes values one by one", 'write a list, or search.method = "random"'
                )
        axes = [[(key, value) for value in axis.values] for key, axis in space.items() if isinstance(axis, Values)]
        return itertools.product(*axes)


class Random(Config):
    """Points drawn independently; more of them leave those there are as they are."""

    method: Literal["random"]
    trials: int = pydantic.Field(gt=0, le=MOST_TRIALS)
    """How many points; those that are drawn twice are run once."""
    seed: int = pydantic.Field(default=0, ge=0)

    def points(self, space: Mapping[str, Axis]) -> Iterator[SearchPoint]:
        """The points in order."""
        return (drawn(space, self.seed, number) for number in range(self.trials))


class Optuna(Config):
    """Points that Optuna's tree-structured Parzen estimator asks for (needs the extra `optuna`)."""

    method: Literal["optuna"]
    trials: int = pydantic.Field(gt=0, le=MOST_TRIALS)
    seed: int = pydantic.Field(default=0, ge=0)
    start: int = pydantic.Field(default=10, gt=0)
    """Points that are drawn at random before the estimator takes over."""
    parallel: int = pydantic.Field(default=4, gt=0)
    """Trials that may be under way when a point is chosen: the choice knows the results of all but the last so many.
    Part of the search and not of the machine, so that every machine asks for the same points."""


class Population(Config):
    """Population-based training: now and then the worst members go on from the best ones, with changed settings."""

    method: Literal["population"]
    members: int = pydantic.Field(gt=1, le=MOST_TRIALS)
    interval: int = pydantic.Field(gt=0)
    """Epochs between two comparisons."""
    quantile: float = pydantic.Field(default=0.25, gt=0, le=0.5)
    """The part of the population that is replaced each time, and the part that it is replaced from."""
    resample: float = pydantic.Field(default=0.25, ge=0, le=1)
    """How often a setting is drawn anew instead of being moved by a fifth."""
    seed: int = pydantic.Field(default=0, ge=0)


METHODS: dict[str, type[Config]] = {"grid": Grid, "random": Random, "optuna": Optuna, "population": Population}


def _method(table: Any) -> Any:
    if not isinstance(table, Mapping):
        return table
    method = table.get("method", "grid")
    if method not in METHODS:
        raise InputError("method", f"unknown value {method!r}", suggestion(str(method), METHODS))
    return build(METHODS[method], table, "")


Search: TypeAlias = Annotated[
    Grid | Random | Optuna | Population,
    pydantic.BeforeValidator(_method, json_schema_input_type=Grid | Random | Optuna | Population),
]


class Listed:
    """A source whose trials are known from the start."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials, self._given = trials, 0
        self.count = len(trials)

    @property
    def ended(self) -> bool:
        """Whether every trial has been given out."""
        return self._given == self.count

    def next(self) -> Trial | None:
        """The next trial."""
        if self.ended:
            return None
        self._given += 1
        return self._trials[self._given - 1]

    def settled(self, value: float | None) -> None:
        """Nothing follows from it."""


class OptunaSource:
    """A source that asks Optuna.

    Each question is a function of (seed, number, results known by then): the sampler is seeded anew for it.
    """

    def __init__(self, search: Optuna, space: Mapping[str, Axis], maker: TrialBuilder) -> None:
        self._optuna = optuna_module()
        self._search, self._space, self._maker = search, space, maker
        self._study = self._optuna.create_study(direction="minimize")
        self._asked: list[Any] = []
        self._values: list[float | None] = []
        self._told = 0
        self.count = search.trials

    @property
    def ended(self) -> bool:
        """Whether every trial has been given out."""
        return len(self._asked) == self.count

    def next(self) -> Trial | None:
        """The next point that Optuna asks for, once enough results are in."""
        number = len(self._asked)
        enough = max(number - self._search.parallel + 1, 0)
        if self.ended or len(self._values) < enough:
            return None
        while self._told < enough:
            self._tell(self._asked[self._told], self._values[self._told])
            self._told += 1
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=int(seed_words("sweep optuna", (self._search.seed, number), 1)[0]),
            n_startup_trials=self._search.start,
            constant_liar=True,
        )
        asked = self._study.ask({key: self._distribution(axis) for key, axis in self._space.items()})
        self._asked.append(asked)
        point = tuple((key, self._value(axis, asked.params[key])) for key, axis in self._space.items())
        return self._maker.trial(point)

    def settled(self, value: float | None) -> None:
        """The next trial in order has ended; Optuna is told of it no sooner than a question needs it."""
        self._values.append(value)

    def _tell(self, asked: Any, value: float | None) -> None:
        if value is None or not math.isfinite(value):
            self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(asked, value)

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        match axis:
            case Values():
                # By place: a value may be a table, which Optuna does not take.
                return kinds.CategoricalDistribution(range(len(axis.values)))
            case Integers():
                return kinds.IntDistribution(*axis.integers)
            case _:
                return kinds.FloatDistribution(*axis.ends, log=isinstance(axis, LogUniform))

    def _value(self, axis: Axis, parameter: Any) -> Any:
        return axis.values[parameter] if isinstance(axis, Values) else parameter


def optuna_module() -> Any:
    """Optuna, or the line that says how to get it.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("search.method", "Optuna is not installed", "pip install 'rayspin[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
