"""The options of each job of a submission, from the command line and the profile of the site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rayspin.config import build, suggestion
from rayspin.errors import InputError
from rayspin.inputs import SETTINGS_BYTES, MissingFileError, parse_toml, read_text
from rayspin.jobs.pipeline import Pipeline
from rayspin.jobs.registry import KINDS
from rayspin.jobs.stage import Stage
from rayspin.launch.options import SubmitOptions
from rayspin.paths import expanded_path

SITE_PROFILE = Path("~/.config/rayspin/site.toml")
"""The user's site profile: options that are the same for all jobs on a site."""


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


def job_requests(
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
