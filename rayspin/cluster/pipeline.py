"""A pipeline: stages that run one after another, each in its own folder and resumable by itself."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from rayspin.cluster.stage import Context, Plan, Stage, build_stage, execute
from rayspin.errors import InputError
from rayspin.rundir import RunDir, Summary, Table


def _stages(tables: Any) -> Any:
    if not isinstance(tables, Mapping):
        return tables
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
        dict[str, pydantic.SerializeAsAny[Stage]],
        pydantic.BeforeValidator(_stages, json_schema_input_type=dict[str, dict[str, Any]]),
    ] = pydantic.Field(min_length=1)

    def identity(self) -> Table:
        """The identities of all stages."""
        return {"kind": self.kind, "stages": {name: stage.identity() for name, stage in self.stages.items()}}

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Each stage, with those before it."""
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

    def _before(self, name: str, earlier: Mapping[str, Stage]) -> dict[str, Stage]:
        """The stages that `name` can refer to."""
        return {**earlier, **dict(itertools.takewhile(lambda item: item[0] != name, self.stages.items()))}
