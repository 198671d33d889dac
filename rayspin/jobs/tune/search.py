"""Search methods: the `[search]` table of a sweep, and the sources of trials that implement it.

A source returns one trial after another, and receives their results in the order of the trials. It depends on nothing
else, so a sweep that is replayed from its ledger asks for the same trials.
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
    """Interface of the sources of trials.

    Attributes:
        count: number of trials, as far as it is known.
    """

    count: int

    def next(self) -> Trial | None:
        """Return the next trial, or None if the source has ended or needs more results first (see `ended`)."""

    @property
    def ended(self) -> bool:
        """Whether all trials have been returned."""

    def settled(self, value: float | None) -> None:
        """Take the final metric of the next trial in order; smaller is better. None means that the trial failed."""


class Grid(Config):
    """Grid search: all combinations of the values of the axes."""

    method: Literal["grid"] = "grid"
    """Search method: "grid", "random", "optuna" or "population"."""

    def points(self, space: Mapping[str, Axis]) -> Iterator[SearchPoint]:
        """Return the points in order; the last axis varies fastest.

        Raises:
            InputError: an axis is a range, or the grid has more than `MOST_TRIALS` points.
        """
        count = math.prod(len(axis.values) for axis in space.values() if isinstance(axis, Values))
        if count > MOST_TRIALS:
            remedy = f'give at most {MOST_TRIALS}, or use search.method = "random"'
            raise InputError("space", f"has {count} points", remedy)
        for key, axis in space.items():
            if not isinstance(axis, Values):
                raise InputError(
                    f"space.{key}", "a grid needs a list of values", 'write a list, or use search.method = "random"'
                )
        axes = [[(key, value) for value in axis.values] for key, axis in space.items() if isinstance(axis, Values)]
        return itertools.product(*axes)


class Random(Config):
    """Random search: independent points. A larger number of trials does not change the earlier ones."""

    method: Literal["random"]
    """Search method: "grid", "random", "optuna" or "population"."""
    trials: int = pydantic.Field(gt=0, le=MOST_TRIALS)
    """Number of points; a point that is drawn twice runs once."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root seed; the value of an axis in trial i depends on (seed, key of the axis, i)."""

    def points(self, space: Mapping[str, Axis]) -> Iterator[SearchPoint]:
        """Return the points in order."""
        return (drawn(space, self.seed, number) for number in range(self.trials))


class Optuna(Config):
    """Search with the tree-structured Parzen estimator of Optuna (requires the extra `optuna`)."""

    method: Literal["optuna"]
    """Search method: "grid", "random", "optuna" or "population"."""
    trials: int = pydantic.Field(gt=0, le=MOST_TRIALS)
    """Number of points."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root seed; the sampler for trial i is seeded with (seed, i)."""
    start: int = pydantic.Field(default=10, gt=0)
    """Number of points that are drawn at random before the estimator is used."""
    parallel: int = pydantic.Field(default=4, gt=0)
    """Maximum number of trials in progress at a time: the choice of trial i uses the results of the first
    i + 1 - parallel trials. It belongs to the search, so that the points do not depend on the machine."""


class Population(Config):
    """Population-based training: after each interval, modified copies of the best members replace the worst ones."""

    method: Literal["population"]
    """Search method: "grid", "random", "optuna" or "population"."""
    members: int = pydantic.Field(gt=1, le=MOST_TRIALS)
    """Size of the population."""
    interval: int = pydantic.Field(gt=0)
    """Number of epochs between two comparisons."""
    quantile: float = pydantic.Field(default=0.25, gt=0, le=0.5)
    """Fraction of the population that is replaced each time; also the fraction of best members that replace it."""
    resample: float = pydantic.Field(default=0.25, ge=0, le=1)
    """Probability that a setting is drawn again; otherwise it is multiplied or divided by 1.2."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root seed of the first members and of the changes of settings."""


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
    """Source with a fixed list of trials."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials, self._given = trials, 0
        self.count = len(trials)

    @property
    def ended(self) -> bool:
        """Whether all trials have been returned."""
        return self._given == self.count

    def next(self) -> Trial | None:
        """Return the next trial, or None after the last."""
        if self.ended:
            return None
        self._given += 1
        return self._trials[self._given - 1]

    def settled(self, value: float | None) -> None:
        """Ignore the result."""


class OptunaSource:
    """Source that chooses points with Optuna.

    Each point is a function of (seed, index, earlier results): the sampler is seeded again for each one.

    Args:
        search: settings of the search.
        space: axes of the search space by dotted key.
        maker: builds the trials.

    Raises:
        InputError: Optuna is not installed.
    """

    def __init__(self, search: Optuna, space: Mapping[str, Axis], maker: TrialBuilder) -> None:
        self._optuna = optuna_module()
        self._search, self._space, self._maker = search, space, maker
        self._study = self._optuna.create_study(direction="minimize")
        self._asked: list[Any] = []
        self._values: list[float | None] = []
        self._reported = 0
        self.count = search.trials

    @property
    def ended(self) -> bool:
        """Whether all trials have been returned."""
        return len(self._asked) == self.count

    def next(self) -> Trial | None:
        """Return a trial at the next point that Optuna chooses, or None until enough results are available."""
        number = len(self._asked)
        enough = max(number - self._search.parallel + 1, 0)
        if self.ended or len(self._values) < enough:
            return None
        while self._reported < enough:
            self._report(self._asked[self._reported], self._values[self._reported])
            self._reported += 1
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
        """Take the final metric of the next trial in order; it is reported to Optuna when a later point needs it."""
        self._values.append(value)

    def _report(self, asked: Any, value: float | None) -> None:
        if value is None or not math.isfinite(value):
            self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(asked, value)

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        match axis:
            case Values():
                # Categories are indices, because values may be tables, which Optuna does not accept.
                return kinds.CategoricalDistribution(range(len(axis.values)))
            case Integers():
                return kinds.IntDistribution(*axis.integers)
            case _:
                return kinds.FloatDistribution(*axis.ends, log=isinstance(axis, LogUniform))

    def _value(self, axis: Axis, parameter: Any) -> Any:
        return axis.values[parameter] if isinstance(axis, Values) else parameter


def optuna_module() -> Any:
    """Import Optuna.

    Raises:
        InputError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("search.method", "Optuna is not installed", "pip install 'rayspin[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
