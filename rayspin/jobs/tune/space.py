"""Search spaces: for each dotted key of a job, a list of values or a range to draw from.

The random value of key k in trial i is a function of (seed, k, i) alone. Additional trials or keys therefore do not
change the other values.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import pydantic

from rayspin.config import Config, build, suggestion
from rayspin.errors import InputError
from rayspin.rng import generator

MOST_TRIALS = 20_000
"""Maximum number of trials in a sweep. Each trial is checked as a job, at a few thousand per second."""

SearchPoint = tuple[tuple[str, Any], ...]
"""A point in the search space: (dotted key, value) for each axis."""


class Values(Config):
    """A list of values: coordinates of a grid, or equally likely values of random points."""

    values: tuple[Any, ...]

    @pydantic.model_validator(mode="after")
    def _some(self) -> Self:
        if not self.values:
            raise InputError("values", "no values", "give at least one")
        return self

    def at(self, quantile: float) -> Any:
        """Return the value at a quantile in [0, 1]."""
        return self.values[min(int(quantile * len(self.values)), len(self.values) - 1)]


class _Range(Config):
    """Base class of the ranges: a lower and an upper bound."""

    name: ClassVar[str]
    lowest: ClassVar[float] = -math.inf

    @property
    def ends(self) -> tuple[float, float]:
        """(lower bound, upper bound)."""
        ends: tuple[float, float] = getattr(self, self.name)
        return ends

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = self.ends
        if not self.lowest < low < high:
            least = "" if self.lowest == -math.inf else f", both above {self.lowest:g}"
            raise InputError(self.name, f"[{low:g}, {high:g}] is not a range", f"give the lower bound first{least}")
        return self


class Uniform(_Range):
    """Real numbers with a uniform distribution between two bounds."""

    name: ClassVar[str] = "uniform"
    uniform: tuple[float, float]

    def at(self, quantile: float) -> float:
        """Return the value at a quantile in [0, 1]."""
        low, high = self.uniform
        return low + quantile * (high - low)


class LogUniform(_Range):
    """Positive real numbers whose logarithm has a uniform distribution between two bounds."""

    name: ClassVar[str] = "log_uniform"
    lowest: ClassVar[float] = 0.0
    log_uniform: tuple[float, float]

    def at(self, quantile: float) -> float:
        """Return the value at a quantile in [0, 1]."""
        low, high = self.log_uniform
        return min(low * math.exp(quantile * math.log(high / low)), high)


class Integers(_Range):
    """Integers with a uniform distribution between two bounds, both included."""

    name: ClassVar[str] = "integers"
    integers: tuple[int, int]

    def at(self, quantile: float) -> int:
        """Return the value at a quantile in [0, 1]."""
        low, high = self.integers
        return min(low + int(quantile * (high - low + 1)), high)


Axis = Values | Uniform | LogUniform | Integers
KINDS: dict[str, type[Axis]] = {
    "values": Values,
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "integers": Integers,
}


def _axis(key: str, what: Any) -> Any:
    if isinstance(what, list | tuple):
        if not what:
            raise InputError(key, "no values", "give at least one")
        return Values(values=tuple(what))
    if not isinstance(what, Mapping):
        return what
    names = list(what)
    if len(names) != 1 or names[0] not in KINDS:
        unknown = next((name for name in names if name not in KINDS), None)
        problem = "not an axis" if unknown is None else f"unknown key {unknown!r}"
        remedy = "write one of " + ", ".join(KINDS) if unknown is None else suggestion(unknown, KINDS)
        raise InputError(key, problem, remedy)
    try:
        return build(KINDS[names[0]], what, "")
    except InputError as error:
        raise InputError(f"{key}.{error.where}", error.problem, error.remedy) from None


def _axes(table: Any) -> Any:
    if not isinstance(table, Mapping):
        return table
    axes = {key: what if isinstance(what, Values | _Range) else _axis(key, what) for key, what in table.items()}
    listed = sum(len(axis.values) for axis in axes.values() if isinstance(axis, Values))
    if listed > MOST_TRIALS:
        raise InputError("", f"lists {listed} values", f"give at most {MOST_TRIALS}, or ranges")
    return axes


def _plain(axes: Mapping[str, Axis]) -> dict[str, Any]:
    tables = {key: axis.to_table() for key, axis in axes.items()}
    return {key: table.get("values", table) for key, table in tables.items()}


Space = Annotated[
    dict[str, Axis],
    pydantic.BeforeValidator(_axes, json_schema_input_type=dict[str, list[Any] | dict[str, Any]]),
    pydantic.PlainSerializer(_plain),
    pydantic.Field(min_length=1),
]
"""For each dotted key of the job, a list of values, { uniform = [low, high] }, { log_uniform = [low, high] } or
{ integers = [low, high] }."""


def drawn(space: Mapping[str, Axis], seed: int, number: int) -> SearchPoint:
    """Return a random point.

    Args:
        space: axes by dotted key.
        seed: root seed.
        number: index of the point.
    """
    return tuple(
        (key, axis.at(float(generator(f"sweep {key}", (seed, number)).random()))) for key, axis in space.items()
    )


def short_names(keys: Sequence[str], taken: Collection[str] = ()) -> dict[str, str]:
    """Return the shortest unique name of each dotted key: its last word, or more words if the name would be ambiguous.

    Integers (indices into vectors) do not count as words. The names are valid in NetCDF and CSV.

    Args:
        keys: dotted keys.
        taken: names that must not be used.
    """
    names = {key: _tail(key, 1) for key in keys}
    words = 1
    while twice := {name for name in names.values() if name in taken or list(names.values()).count(name) > 1}:
        words += 1
        if words > max(key.count(".") + 1 for key in keys):
            # A whole key is taken if a top-level key has the name of a metric.
            return {key: f"{name}_swept" if name in twice else name for key, name in names.items()}
        names = {key: _tail(key, words) if name in twice else name for key, name in names.items()}
    return names


def label(point: Mapping[str, Any]) -> str:
    """Return a point as text."""
    names = short_names(list(point))
    return ", ".join(f"{names[key]} {shown(value)}" for key, value in point.items()) or "the base job"


def shown(value: Any) -> str:
    """Return a value of an axis as text."""
    if isinstance(value, Mapping):
        return " ".join(f"{key}={shown(inner)}" if inner else key for key, inner in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tail(key: str, words: int) -> str:
    parts = key.split(".")
    start = len(parts)
    while start > 0 and words > 0:
        start -= 1
        words -= not parts[start].isdigit()
    return "_".join(parts[start:])
