"""What a submission asks of a cluster: the facts of a site and of one job, never of what the job computes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import pydantic

from rayspin.config import Config, build, suggestion
from rayspin.errors import InputError
from rayspin.inputs import SETTINGS_BYTES, MissingFileError, parse_toml, read_text
from rayspin.jobs.pipeline import Pipeline
from rayspin.jobs.registry import KINDS
from rayspin.jobs.stage import Stage
from rayspin.paths import expanded_path

SITE_PROFILE = Path("~/.config/rayspin/site.toml")
"""Where a user keeps the options that are always the same on a site."""


class SubmitOptions(Config):
    """Where a job runs and with what."""

    cluster: Literal["slurm", "local"] = "slurm"
    nodes: int = pydantic.Field(default=1, gt=0)
    """With cluster "local", tasks on this machine that play the nodes."""
    min_nodes: int | None = pydantic.Field(default=None, gt=0)
    """The job starts with so many if the others don't come; by default it wants all."""
    array: int | None = pydantic.Field(default=None, gt=0)
    """Generation as so many jobs of one node each, which come and go by themselves, in place of one Ray cluster."""
    time: str = "1:00:00"
    """Walltime as Slurm takes it: minutes, hours:minutes:seconds, days-hours, days-hours:minutes, ..."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclusive: bool | None = None
    """Whole nodes, or nodes shared with other jobs; by default whole ones unless `cpus_per_node` is given."""
    cpus_per_node: int | None = pydantic.Field(default=None, gt=0)
    gpus_per_node: int = pydantic.Field(default=0, ge=0)
    memory_per_node: str | None = None
    """As Slurm takes it: "64G", "0" for all of a node's."""
    interface: str | None = None
    """Network interface between the nodes ("ib0"), if the host names lead to another."""
    scratch: str | None = None
    """Folder on the nodes' own disks, at most 30 characters; by default $TMPDIR or /tmp."""
    modules: tuple[str, ...] = ()
    """Loaded before the job, in this order: ["gcc/12", "python/3.11"]."""
    setup: tuple[str, ...] = ()
    """Lines of shell that run before the job, after the modules."""
    drain_seconds: int = pydantic.Field(default=120, ge=30)
    """So long before the walltime the job takes up no more work, so that it ends in time and is requeued."""
    max_attempts_without_progress: int = pydantic.Field(default=3, gt=0)
    """So many attempts in a row may end without progress; then the job fails instead of being requeued for ever."""
    options: dict[str, str] = pydantic.Field(default={})
    """Further options of sbatch, without dashes: {"reservation": "weekend"}."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> SubmitOptions:
        if self.min_nodes is not None and self.min_nodes > self.nodes:
            problem = f"{self.min_nodes} of {self.nodes} nodes"
            raise InputError("min_nodes", problem, "ask for more nodes, or for fewer at least")
        if self.array is not None and self.nodes > 1:
            problem = f"{self.nodes} for each of {self.array} tasks that need no other node"
            raise InputError("nodes", problem, "leave it out, or leave out array")
        if self.minutes * 60 <= 2 * self.drain_seconds:
            problem = f"{self.time} leaves no time to work before the drain, {self.drain_seconds} s before its end"
            raise InputError("time", problem, "ask for more time, or set drain_seconds")
        return self

    @property
    def whole_nodes(self) -> bool:
        """Whether the job shares its nodes with no other."""
        return self.cpus_per_node is None if self.exclusive is None else self.exclusive

    @property
    def minutes(self) -> int:
        """The walltime, rounded up to whole minutes.

        Raises:
            InputError: it is no time as Slurm takes them.
        """
        found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", self.time)
        if found is None:
            remedy = 'write "minutes", "hours:minutes:seconds" or "days-hours"'
            raise InputError("time", f"{self.time!r} is no walltime", remedy)
        days, *rest = found.groups()
        parts = [int(part) for part in rest if part is not None]
        if days is not None:
            hours, minutes, seconds = (*parts, 0, 0)[:3]
        elif len(parts) == 3:
            hours, minutes, seconds = parts
        else:
            hours, (minutes, seconds) = 0, (*parts, 0)[:2]
        return int(days or 0) * 1440 + hours * 60 + minutes + (seconds > 0)


@dataclass(frozen=True)
class SiteProfile:
    """The options of a site, and those of some kinds of job on it.

    Attributes:
        table: options of all jobs, by name.
        kinds: options of the kinds of job that a pattern matches ("train-*"); later ones go before earlier ones.
    """

    table: Mapping[str, Any]
    kinds: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path | None = None) -> SiteProfile:
        """The profile at `path`, or `SITE_PROFILE` if there is one, else none.

        Raises:
            InputError: there is no such file, or anything is wrong in it.
        """
        try:
            file = expanded_path(path or SITE_PROFILE, "--profile")
            text = read_text(file, limit=SETTINGS_BYTES, remedy="give a TOML file of site options")
        except MissingFileError:
            if path is None:
                return cls({}, {})
            raise
        table = parse_toml(text, str(file))
        kinds = table.pop("kind", {})
        build(SubmitOptions, table, str(file))
        if not isinstance(kinds, Mapping):
            raise InputError(f"{file}: kind", f"{kinds!r} won't do", 'write a table: [kind."train-*"]')
        for pattern, section in kinds.items():
            if not any(fnmatchcase(kind, pattern) for kind in KINDS):
                raise InputError(f"{file}: kind.{pattern}", "no kind of job", suggestion(pattern, KINDS))
            if not isinstance(section, Mapping):
                raise InputError(f"{file}: kind.{pattern}", f"{section!r} won't do", "write a table of options")
            build(SubmitOptions, {**table, **section}, f"{file}: kind.{pattern}")
        return cls(table, kinds)

    def options(self, kind: str, *given: Mapping[str, Any]) -> SubmitOptions:
        """The options of a job of this kind; what is `given` for one submission goes before the site's.

        Raises:
            InputError: they don't fit together.
        """
        table = dict(self.table)
        for pattern, section in self.kinds.items():
            if fnmatchcase(kind, pattern):
                table |= section
        for more in given:
            # Several nodes or an array: the latest word decides which.
            if more.get("nodes", 1) > 1 and "array" not in more:
                table.pop("array", None)
            if "array" in more and "nodes" not in more:
                table.pop("nodes", None)
            table |= more
        return build(SubmitOptions, table, "submit")


@dataclass(frozen=True)
class JobRequest:
    """What is handed over as one job, or as one array of jobs.

    Attributes:
        stage: the stage of a pipeline that it runs; empty for the whole job file.
        options: where and with what.
        after: stages that must have ended well before it starts.
    """

    stage: str
    options: SubmitOptions
    after: tuple[str, ...] = ()


def pieces(
    job: Stage,
    profile: SiteProfile,
    given: Mapping[str, Any],
    for_stages: Mapping[str, Mapping[str, Any]] | None = None,
    one_job: bool = False,
) -> list[JobRequest]:
    """A job as it is handed over: in one piece, or a pipeline in one for each stage.

    Args:
        job: a checked job.
        profile: of the site.
        given: options for all pieces.
        for_stages: options for single stages of a pipeline, by their names.
        one_job: keep a pipeline in one piece, on the same nodes from its first stage to its last.

    Raises:
        InputError: options don't fit together, or not to the job.
    """
    by_stage = for_stages or {}
    if not isinstance(job, Pipeline) or one_job:
        if by_stage:
            raise InputError("--for", "only stages of a pipeline have options of their own", "leave it out")
        options = profile.options(job.kind, given)
        if options.array is not None and not job.sharded:
            raise InputError("array", f"{job.kind!r} is no generation", "leave it out, or set it for generation alone")
        return [JobRequest("", options)]
    for name in by_stage:
        if name not in job.stages:
            raise InputError(f"--for {name}", "no stage of this pipeline", suggestion(name, job.stages))
    needs = job.needs()
    found = []
    for name, stage in job.stages.items():
        # An array is asked of a pipeline for what can be one.
        asked = {key: value for key, value in given.items() if key != "array" or stage.sharded}
        options = profile.options(stage.kind, asked, by_stage.get(name, {}))
        if options.array is not None and not stage.sharded:
            raise InputError(f"{name}: array", f"{stage.kind!r} is no generation", "set it for generation alone")
        found.append(JobRequest(name, options, needs[name]))
    return found
