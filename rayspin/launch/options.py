"""Options of a submission: the resources of a job on a cluster and the settings of a site."""

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
"""The user's site profile: options that are the same for all jobs on a site."""


class SubmitOptions(Config):
    """Options of a job: the cluster, its nodes and the resources on each node."""

    cluster: Literal["slurm", "local"] = "slurm"
    """The scheduler: "slurm", or "local" for processes on this machine."""
    nodes: int = pydantic.Field(default=1, gt=0)
    """Number of nodes. With cluster "local", the number of tasks on this machine that stand in for nodes."""
    min_nodes: int | None = pydantic.Field(default=None, gt=0)
    """Number of nodes with which the job starts if the others do not come up; by default all nodes."""
    array: int | None = pydantic.Field(default=None, gt=0)
    """Number of tasks of a job array, which replaces the Ray cluster for generation. Each task has one node and starts
    and ends independently of the others."""
    time: str = "1:00:00"
    """Walltime in the formats of Slurm: minutes, hours:minutes:seconds, days-hours, days-hours:minutes, ..."""
    partition: str | None = None
    """Slurm partition; by default that of the site."""
    account: str | None = None
    """Slurm account to charge; by default that of the user."""
    qos: str | None = None
    """Slurm quality of service."""
    constraint: str | None = None
    """Features that the nodes must have (sbatch --constraint)."""
    exclusive: bool | None = None
    """Whether the job gets whole nodes, not shared with other jobs; by default only if `cpus_per_node` is not set."""
    cpus_per_node: int | None = pydantic.Field(default=None, gt=0)
    """Number of CPUs on each node."""
    gpus_per_node: int = pydantic.Field(default=0, ge=0)
    """Number of GPUs on each node."""
    memory_per_node: str | None = None
    """Memory on each node in the format of Slurm: "64G", or "0" for all memory of a node."""
    interface: str | None = None
    """Network interface between the nodes ("ib0"); by default the one that the host names resolve to."""
    scratch: str | None = None
    """Folder on the nodes' local disks, at most 30 characters; by default $TMPDIR or /tmp."""
    modules: tuple[str, ...] = ()
    """Environment modules to load before the job, in this order: ["gcc/12", "python/3.11"]."""
    setup: tuple[str, ...] = ()
    """Shell commands to run before the job, after the modules are loaded."""
    drain_seconds: int = pydantic.Field(default=120, ge=30)
    """Seconds before the walltime at which the job starts no further work, so that it can end and be requeued."""
    max_attempts_without_progress: int = pydantic.Field(default=3, gt=0)
    """Number of attempts in a row without progress after which the job fails instead of being requeued."""
    options: dict[str, str] = pydantic.Field(default={})
    """Further options of sbatch, without dashes: {"reservation": "weekend"}."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> SubmitOptions:
        if self.min_nodes is not None and self.min_nodes > self.nodes:
            problem = f"{self.min_nodes} is more than nodes ({self.nodes})"
            raise InputError("min_nodes", problem, "increase nodes or reduce min_nodes")
        if self.array is not None and self.nodes > 1:
            problem = f"{self.nodes} nodes, but each of the {self.array} tasks of an array runs on one node"
            raise InputError("nodes", problem, "remove nodes or array")
        if self.minutes * 60 <= 2 * self.drain_seconds:
            problem = f"{self.time} is too short: the drain starts {self.drain_seconds} s before the end"
            raise InputError("time", problem, "increase time or reduce drain_seconds")
        return self

    @property
    def whole_nodes(self) -> bool:
        """Whether the job gets whole nodes, not shared with other jobs."""
        return self.cpus_per_node is None if self.exclusive is None else self.exclusive

    @property
    def minutes(self) -> int:
        """The walltime, rounded up to whole minutes.

        Raises:
            InputError: `time` is not in a format of Slurm.
        """
        found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", self.time)
        if found is None:
            remedy = 'write "minutes", "hours:minutes:seconds" or "days-hours"'
            raise InputError("time", f"{self.time!r} is not a valid walltime", remedy)
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
    """Default options of jobs on a site.

    Attributes:
        table: options of all jobs, by name.
        kinds: options of some kinds of job, by a pattern that matches their names ("train-*"). Later patterns take
            precedence over earlier ones.
    """

    table: Mapping[str, Any]
    kinds: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path | None = None) -> SiteProfile:
        """Read a site profile.

        Args:
            path: TOML file; None for `SITE_PROFILE`, or an empty profile if that file does not exist.

        Raises:
            InputError: the file does not exist or is invalid.
        """
        try:
            file = expanded_path(path or SITE_PROFILE, "--profile")
            text = read_text(file, limit=SETTINGS_BYTES, remedy="give a TOML file with site options")
        except MissingFileError:
            if path is None:
                return cls({}, {})
            raise
        table = parse_toml(text, str(file))
        kinds = table.pop("kind", {})
        build(SubmitOptions, table, str(file))
        if not isinstance(kinds, Mapping):
            raise InputError(f"{file}: kind", f"{kinds!r} is not a table", 'write a table: [kind."train-*"]')
        for pattern, section in kinds.items():
            if not any(fnmatchcase(kind, pattern) for kind in KINDS):
                raise InputError(f"{file}: kind.{pattern}", "matches no kind of job", suggestion(pattern, KINDS))
            if not isinstance(section, Mapping):
                raise InputError(f"{file}: kind.{pattern}", f"{section!r} is not a table", "write a table of options")
            build(SubmitOptions, {**table, **section}, f"{file}: kind.{pattern}")
        return cls(table, kinds)

    def options(self, kind: str, *given: Mapping[str, Any]) -> SubmitOptions:
        """Return the options of a job.

        Args:
            kind: kind of the job.
            *given: options of one submission, which take precedence over the profile; later ones over earlier ones.

        Raises:
            InputError: an option is invalid, or options contradict each other.
        """
        table = dict(self.table)
        for pattern, section in self.kinds.items():
            if fnmatchcase(kind, pattern):
                table |= section
        for update in given:
            # `nodes` and `array` exclude each other; the one with the higher precedence is kept.
            if update.get("nodes", 1) > 1 and "array" not in update:
                table.pop("array", None)
            if "array" in update and "nodes" not in update:
                table.pop("nodes", None)
            table |= update
        return build(SubmitOptions, table, "submit")


@dataclass(frozen=True)
class JobRequest:
    """A request for one job, or one job array, of a submission.

    Attributes:
        stage: stage of a pipeline that the job runs; empty for the whole job file.
        options: options of the job.
        after: stages that must be done before the job starts.
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
    """Return the job requests of a submission: one per stage of a pipeline, otherwise one for the whole job file.

    Args:
        job: validated job.
        profile: profile of the site.
        given: options of all jobs of the submission.
        for_stages: options of single stages of a pipeline, by the names of the stages.
        one_job: run all stages of a pipeline in one job, on the same nodes.

    Raises:
        InputError: an option is invalid, options contradict each other, or an option does not apply to the job.
    """
    by_stage = for_stages or {}
    if not isinstance(job, Pipeline) or one_job:
        if by_stage:
            raise InputError("--for", "applies only to the stages of a pipeline", "remove it")
        options = profile.options(job.kind, given)
        if options.array is not None and not job.sharded:
            remedy = "remove it, or set it for kind 'generate' only"
            raise InputError("array", f"{job.kind!r} jobs can't run as an array", remedy)
        return [JobRequest("", options)]
    for name in by_stage:
        if name not in job.stages:
            raise InputError(f"--for {name}", "not a stage of this pipeline", suggestion(name, job.stages))
    needs = job.needs()
    found = []
    for name, stage in job.stages.items():
        # An option `array` for the whole pipeline applies only to the stages that can run as an array.
        stage_given = {key: value for key, value in given.items() if key != "array" or stage.sharded}
        options = profile.options(stage.kind, stage_given, by_stage.get(name, {}))
        if options.array is not None and not stage.sharded:
            problem = f"{stage.kind!r} jobs can't run as an array"
            raise InputError(f"{name}: array", problem, "set it for kind 'generate' only")
        found.append(JobRequest(name, options, needs[name]))
    return found
