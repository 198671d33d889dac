"""Pipelines: stages that run in order, each in its own folder. Each stage can be resumed independently.

On a cluster, each stage can also run as a separate job (`run_stage`), and stages that do not depend on each other can
run at the same time.
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
"""Maximum number of stages in a pipeline."""


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
        # The caller prepends the file and the key `stages`.
        raise InputError(f"{name}.{error.where}", error.problem, error.remedy) from None


class Pipeline(Stage):
    """Stages in the order of the job file. A stage refers to the folder of an earlier stage as `@name`."""

    # Each stage applies its own `may_change` to its own folder.
    may_change: ClassVar[frozenset[str]] = frozenset({"stages.*"})

    kind: Literal["pipeline"] = "pipeline"
    stages: Annotated[
        dict[Name, pydantic.SerializeAsAny[Stage]],
        pydantic.BeforeValidator(_stages, json_schema_input_type=dict[Name, dict[str, Any]]),
    ] = pydantic.Field(min_length=1)
    """Stages by name, in the order in which they run; the name is also that of the stage's folder."""

    def identity(self) -> Table:
        """The identities of all stages."""
        return {"kind": self.kind, "stages": {name: stage.identity() for name, stage in self.stages.items()}}

    def identity_in(self, run: RunDir) -> Table:
        """The identities of all stages in their folders (see `Stage.identity_in`)."""
        stages = {name: stage.identity_in(run.child(name)) for name, stage in self.stages.items()}
        return {"kind": self.kind, "stages": stages}

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check every stage; see `Stage.check`."""
        run.check_same(self.identity_in(run), self.may_change)
        for name, stage in self.stages.items():
            try:
                stage.check(run.child(name), self._before(name, earlier))
            except InputError as error:
                raise InputError(f"stages.{name}: {error.where}", error.problem, error.remedy) from None

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """The plans of all stages."""
        parts = {name: stage.plan(run.child(name), self._before(name, earlier)) for name, stage in self.stages.items()}
        seconds, size = (sum(part.core_seconds for part in parts.values()), sum(part.bytes for part in parts.values()))
        return Plan("pipeline", {}, seconds, size, parts)

    def run(self, run: RunDir, context: Context) -> Summary:
        """Run all stages in order; finished stages are skipped."""
        parts = tuple(execute(stage, run.child(name), context) for name, stage in self.stages.items())
        pictures = tuple(f"{name}/{picture}" for name, part in zip(self.stages, parts) for picture in part.pictures)
        return Summary("pipeline", {}, pictures, tuple(hint for part in parts for hint in part.hints), parts)

    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each stage, the stages that it refers to as `@name`; they must finish before it starts."""
        return {
            name: tuple(earlier for earlier in self._before(name, {}) if earlier in set(_references(stage.to_table())))
            for name, stage in self.stages.items()
        }

    def run_stage(self, name: str, run: RunDir, context: Context, work: Callable[[Stage, RunDir], Summary]) -> Summary:
        """Run one stage. If all stages have finished afterwards, also finish the pipeline.

        Args:
            name: name of the stage.
            run: folder of the pipeline.
            context: execution environment.
            work: function that runs the stage, or a part of it, in its folder.

        Raises:
            InputError: the pipeline has no such stage, or a stage that it refers to has not finished.
        """
        if name not in self.stages:
            raise InputError(f"stage {name}", "is not in this pipeline", suggestion(name, self.stages))
        self.mark(run)
        for earlier in self.needs()[name]:
            if not self._finished(earlier, run):
                raise InputError(f"stage {name}", f"stage {earlier!r} has not finished", f"run stage {earlier!r} first")
        summary = work(self.stages[name], run.child(name))
        if all(self._finished(other, run) for other in self.stages):
            # If two processes finish the last two stages at the same time, one of them finds the folder locked.
            with suppress(HeldError):
                execute(self, run, context)
        return summary

    def mark(self, run: RunDir) -> None:
        """Create the folder of the pipeline and write its `job.toml`, unless they exist.

        Raises:
            InputError: the folder belongs to another job.
            HeldError: another process uses the folder.
        """
        job = self.identity_in(run)
        if run.asked() != job:
            with run.claimed(job, self.may_change, PATIENCE_S):
                pass

    def _finished(self, name: str, run: RunDir) -> bool:
        return self.stages[name].done(run.child(name)) is not None

    def _before(self, name: str, earlier: Mapping[str, Stage]) -> dict[str, Stage]:
        """Stages that stage `name` may refer to."""
        return {**earlier, **dict(itertools.takewhile(lambda item: item[0] != name, self.stages.items()))}


def _references(value: Any) -> Iterator[str]:
    """Yield the names of the stages that the keys and values of a table refer to."""
    if isinstance(value, str) and value.startswith("@"):
        yield value[1:].partition("/")[0]
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _references(key)
            yield from _references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _references(inner)


def progress(run: RunDir, job: Table) -> dict[str, str]:
    """Return the rows of `rayspin status`: the rows of each stage, prefixed with its name."""
    rows: dict[str, str] = {}
    for name in job["stages"]:
        there = run.child(name).asked()
        stage = {"state": "not started"} if there is None else describe_run(run.child(name), there)
        rows |= {f"{name}: {key}": value for key, value in stage.items() if key != "kind"}
    return rows
