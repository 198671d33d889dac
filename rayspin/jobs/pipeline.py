"""A pipeline: stages that run one after another, each in its own folder and resumable by itself.

On a cluster its stages can also be jobs of their own (`run_stage`): on different nodes, and at once where none refers
to the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from rayspin.claims import PATIENCE_S, HeldError
from rayspin.config import Name, suggestion
from rayspin.errors import InputError
from rayspin.jobs.progress import describe_run
from rayspin.jobs.registry import build_stage
from rayspin.jobs.stage import Context, Plan, Stage, execute
from rayspin.rundir import RunDir, Summary, Table

MOST_STAGES = 1000
"""Stages of a pipeline at most."""


def _stages(tables: Any) -> Any:
    if not isinstance(tables, Mapping):
        return tables
    if len(tables) > MOST_STAGES:
        raise InputError("", f"{len(tables)} stages", f"give at most {MOST_STAGES}")
    return {name: _stage(name, table) for name, table in tables.items()}


def _stage(name: str, table: Any) -> Any:
    if not isinstance(table, Mapping):
        return table
    try:
        return build_stage(table, "")
    except InputError as error:
        # Whoever builds the pipeline puts file and key before what is said here.
        raise InputError(f"{name}.{error.where}", error.problem, error.remedy) from None


class Pipeline(Stage):
    """Stages in the order of the file; a later one refers to an earlier one's folder as `@name`."""

    # Each stage marks its own folder, and says there what may change.
    may_change: ClassVar[frozenset[str]] = frozenset({"stages.*"})

    kind: Literal["pipeline"] = "pipeline"
    stages: Annotated[
        dict[Name, pydantic.SerializeAsAny[Stage]],
        pydantic.BeforeValidator(_stages, json_schema_input_type=dict[Name, dict[str, Any]]),
    ] = pydantic.Field(min_length=1)

    def identity(self) -> Table:
        """The identities of all stages."""
        return {"kind": self.kind, "stages": {name: stage.identity() for name, stage in self.stages.items()}}

    def identity_in(self, run: RunDir) -> Table:
        """Likewise."""
        stages = {name: stage.identity_in(run.child(name)) for name, stage in self.stages.items()}
        return {"kind": self.kind, "stages": stages}

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Each stage, with those before it."""
        run.check_same(self.identity_in(run), self.may_change)
        for name, stage in self.stages.items():
            try:
                stage.check(run.child(name), self._before(name, earlier))
            except InputError as error:
                raise InputError(f"stages.{name}: {error.where}", error.problem, error.remedy) from None

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """The plans of all stages."""
        parts = tuple(stage.plan(run.child(name), self._before(name, earlier)) for name, stage in self.stages.items())
        return Plan("pipeline", {}, sum(part.core_seconds for part in parts), sum(part.bytes for part in parts), parts)

    def run(self, run: RunDir, context: Context) -> Summary:
        """All stages in order; those that have ended return at once."""
        parts = tuple(execute(stage, run.child(name), context) for name, stage in self.stages.items())
        pictures = tuple(f"{name}/{picture}" for name, part in zip(self.stages, parts) for picture in part.pictures)
        return Summary("pipeline", {}, pictures, tuple(hint for part in parts for hint in part.hints), parts)

    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each stage those that it refers to (`@name`): they must have ended before it starts."""
        return {
            name: tuple(earlier for earlier in self._before(name, {}) if earlier in set(_references(stage.to_table())))
            for name, stage in self.stages.items()
        }

    def run_stage(self, name: str, run: RunDir, context: Context, work: Callable[[Stage, RunDir], Summary]) -> Summary:
        """One stage in its folder, the others left to other processes; whoever ends the last one ends the pipeline.

        Args:
            name: of the stage.
            run: the folder of the pipeline.
            context: where it runs and who watches.
            work: what is done to the stage in its folder: all of it, or a part.

        Raises:
            InputError: there is no such stage, or one that it refers to has not ended.
        """
        if name not in self.stages:
            raise InputError(f"stage {name}", "is not in this pipeline", suggestion(name, self.stages))
        self.mark(run)
        for earlier in self.needs()[name]:
            if not self._finished(earlier, run):
                raise InputError(f"stage {name}", f"stage {earlier!r} has not ended", "run that one first")
        summary = work(self.stages[name], run.child(name))
        if all(self._finished(other, run) for other in self.stages):
            # Two stages may end last at the same moment; then one of them finds the folder locked by the other.
            with suppress(HeldError):
                execute(self, run, context)
        return summary

    def mark(self, run: RunDir) -> None:
        """Make the folder this pipeline's, if it isn't yet.

        Raises:
            InputError: it holds the run of another job.
            HeldError: another process works on it.
        """
        job = self.identity_in(run)
        if run.asked() != job:
            with run.claimed(job, self.may_change, PATIENCE_S):
                pass

    def _finished(self, name: str, run: RunDir) -> bool:
        return self.stages[name].done(run.child(name)) is not None

    def _before(self, name: str, earlier: Mapping[str, Stage]) -> dict[str, Stage]:
        """The stages that `name` can refer to."""
        return {**earlier, **dict(itertools.takewhile(lambda item: item[0] != name, self.stages.items()))}


def _references(value: Any) -> Iterator[str]:
    """The names of stages that the values of a table refer to."""
    if isinstance(value, str) and value.startswith("@"):
        yield value[1:].partition("/")[0]
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _references(inner)


def progress(run: RunDir, job: Table) -> dict[str, str]:
    """Rows of `rayspin status`: those of each stage."""
    rows: dict[str, str] = {}
    for name in job["stages"]:
        there = run.child(name).asked()
        stage = {"state": "not started"} if there is None else describe_run(run.child(name), there)
        rows |= {f"{name}: {key}": value for key, value in stage.items() if key != "kind"}
    return rows
