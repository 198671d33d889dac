"""Job files: TOML in, a checked job out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli_w

from rayspin.config import replace_key
from rayspin.errors import InputError
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
    """The job that the file at `path` describes.

    Args:
        path: a TOML file.
        overrides: "dotted.key=value", as `--set` takes them; a value is TOML, or a text without quotes.

    Raises:
        InputError: the file is missing or no TOML, or anything in it is wrong.
    """
    text = read_text(path, limit=SETTINGS_BYTES, remedy="give the path of a job file (jobs/*.toml)")
    table = parse_toml(text, str(path))
    for override in overrides:
        _apply(table, override, "--set")
    return build_stage(table, str(path))


def default_out(path: Path) -> Path:
    """Where a job file's run goes unless told otherwise: `runs/` and the file's name, under the working directory.

    Raises:
        InputError: the file's name is none for a folder.
    """
    return printable_path(Path("runs") / path.stem, "--out")


def to_toml(job: Stage) -> str:
    """The resolved job, every default written out, as TOML."""
    return tomli_w.dumps(job.to_table())


def plan(job: Stage, out: Path) -> Plan:
    """What a run of the job in the folder `out` would still do, and what it would cost.

    Raises:
        InputError: the job can't run there.
    """
    run_dir = RunDir.at(out)
    job.check(run_dir, {})
    return job.plan(run_dir, {})


def run(job: Stage, out: Path, context: Context, *, stage: str | None = None, shards: str | None = None) -> Summary:
    """Start or resume the job in the folder `out`.

    Args:
        job: as `load` gives it.
        out: folder of the run.
        context: where it runs and who watches.
        stage: the only stage of a pipeline to run.
        shards: only these shards of a dataset, without Ray; see `rayspin.jobs.generate.array`.

    Raises:
        InputError: the job can't run there; nothing was written.
        RunError: it failed; what is done is kept.
        Incomplete: it stopped before its end; asked again, it goes on.
    """
    run_dir = RunDir.at(out)
    job.check(run_dir, {})

    def work(one: Stage, folder: RunDir) -> Summary:
        return execute(one, folder, context) if shards is None else run_part(one, shards, folder, context)

    if stage is None:
        return work(job, run_dir)
    if not isinstance(job, Pipeline):
        raise InputError(f"--stage {stage}", f"{job.kind!r} has no stages", "leave it out")
    return job.run_stage(stage, run_dir, context, work)


def mark(job: Stage, out: Path) -> None:
    """Make the folder `out` a pipeline's, whose stages run there as jobs of their own.

    Raises:
        InputError: it holds the run of another job.
        HeldError: another process works on it.
    """
    assert isinstance(job, Pipeline)
    job.mark(RunDir.at(out))


def parse_settings(settings: Iterable[str], where: str) -> dict[str, Any]:
    """The table that "dotted.key=value" texts describe; a value is TOML, or a text without quotes.

    Raises:
        InputError: one of them is no such text; `where` is what the user calls it.
    """
    table: dict[str, Any] = {}
    for setting in settings:
        _apply(table, setting, where)
    return table


def json_schema() -> dict[str, Any]:
    """The JSON schema of all job files, for editors."""
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
        raise InputError(place, "is no UTF-8", "write UTF-8")
    replace_key(table, key.strip(), _value(text.strip(), place), place)


def _value(text: str, where: str) -> Any:
    try:
        table = parse_toml(f"value = {text}", where)
    except SyntaxInputError:
        return text
    if len(table) > 1:
        raise InputError(where, "more than one key", "give each key of its own")
    return table["value"]
