"""Reading, checking, planning and running of jobs: the Python interface behind the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli_w

from rayspin.config import replace_key
from rayspin.errors import InputError
from rayspin.figure_files import figures_also_as
from rayspin.inputs import SETTINGS_BYTES, SyntaxInputError, parse_toml, read_text
from rayspin.jobs.generate.array import run_part
from rayspin.jobs.pipeline import Pipeline
from rayspin.jobs.registry import KINDS, build_stage, stage_type
from rayspin.jobs.stage import Context, Plan, Stage, execute
from rayspin.paths import printable_path
from rayspin.rundir import RunDir, Summary

__all__ = [
    "KINDS",
    "Context",
    "Plan",
    "Stage",
    "Summary",
    "default_out",
    "json_schema",
    "load",
    "mark",
    "parse_settings",
    "plan",
    "run",
    "to_toml",
]


def load(path: Path, overrides: Iterable[str] = ()) -> Stage:
    """Read a job from the file at `path`.

    Args:
        path: a TOML file.
        overrides: replaced values as "dotted.key=value", as for `--set`. A value is TOML, or a string without quotes.

    Raises:
        InputError: the file is missing or not TOML, or a key or value is invalid.
    """
    text = read_text(path, limit=SETTINGS_BYTES, remedy="give the path of a job file (jobs/*.toml)")
    table = parse_toml(text, str(path))
    for override in overrides:
        _apply(table, override, "--set")
    return build_stage(table, str(path))


def default_out(path: Path) -> Path:
    """Return the default folder of a run: `runs/NAME` in the working folder for the job file `NAME.toml`.

    Raises:
        InputError: the name of the file has characters that cannot be printed.
    """
    return printable_path(Path("runs") / path.stem, "--out")


def to_toml(job: Stage) -> str:
    """Return the job as TOML, with all defaults filled in."""
    return tomli_w.dumps(job.to_table())


def plan(job: Stage, out: Path) -> Plan:
    """Return what a run of the job in the folder `out` has still to do, and its estimated cost.

    Raises:
        InputError: the job cannot run in this folder.
    """
    run_dir = RunDir.at(out)
    job.check(run_dir, {})
    return job.plan(run_dir, {})


def run(job: Stage, out: Path, context: Context, *, stage: str | None = None, shards: str | None = None) -> Summary:
    """Start or resume the job in the folder `out`.

    Args:
        job: the job, as returned by `load`.
        out: folder of the run.
        context: Ray session, progress display, stop requests and formats of figures of the run.
        stage: name of the one stage of a pipeline to run; by default all stages.
        shards: shards of a dataset to generate without Ray, as "A:B" or "K/N"; see `rayspin.jobs.generate.array`.

    Returns:
        The summary of the finished run, or of the generated shards if `shards` is given and others are missing.

    Raises:
        InputError: the job cannot run in this folder. Nothing was written.
        RunError: the run failed. Finished work is kept.
        Incomplete: the run stopped on request before its end. The same call resumes it.
    """
    run_dir = RunDir.at(out)
    job.check(run_dir, {})

    def work(one: Stage, folder: RunDir) -> Summary:
        return execute(one, folder, context) if shards is None else run_part(one, shards, folder, context)

    with figures_also_as(context.figures):
        if stage is None:
            return work(job, run_dir)
        if not isinstance(job, Pipeline):
            raise InputError(f"--stage {stage}", f"{job.kind!r} has no stages", "leave it out")
        return job.run_stage(stage, run_dir, context, work)


def mark(job: Stage, out: Path) -> None:
    """Write the pipeline to the folder `out`, so that its stages can run there as separate jobs.

    Raises:
        InputError: the folder holds the run of a different job.
        HeldError: another process holds the lock of the folder.
    """
    assert isinstance(job, Pipeline)
    job.mark(RunDir.at(out))


def parse_settings(settings: Iterable[str], where: str) -> dict[str, Any]:
    """Parse "dotted.key=value" settings into nested tables.

    Args:
        settings: the settings. A value is TOML, or a string without quotes.
        where: the option that they were given with, for error messages.

    Raises:
        InputError: a setting does not have this form.
    """
    table: dict[str, Any] = {}
    for setting in settings:
        _apply(table, setting, where)
    return table


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of job files of all kinds."""
    kinds = {
        kind: stage_type(kind, "").model_json_schema(ref_template=f"#/$defs/{kind}/$defs/{{model}}") for kind in KINDS
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rayspin job file",
        "type": "object",
        "required": ["kind"],
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in kinds],
        "$defs": kinds,
    }


def _apply(table: dict[str, Any], setting: str, where: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals:
        raise InputError(f"{where} {setting}", "not of the form key=value", f"write {where} table.key=value")
    place = f"{where} {setting}"
    if not setting.isascii() and any("\ud800" <= char <= "\udfff" for char in setting):
        raise InputError(place, "not valid UTF-8", "write it in UTF-8")
    replace_key(table, key.strip(), _value(text.strip(), place), place)


def _value(text: str, where: str) -> Any:
    try:
        table = parse_toml(f"value = {text}", where)
    except SyntaxInputError:
        return text
    if len(table) > 1:
        raise InputError(where, "more than one key", "set each key separately")
    return table["value"]
