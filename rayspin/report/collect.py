"""Sections of a report from the folders of runs: the job, its state, its cost, its results, and its parts."""

from __future__ import annotations

import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from rayspin.claims import holders
from rayspin.errors import InputError
from rayspin.inputs import RECORD_BYTES, read_text
from rayspin.jobs import registry
from rayspin.jobs.registry import stage_type
from rayspin.paths import checked_path
from rayspin.progress import duration
from rayspin.report.blocks import Block, Facts, Picture, Section, State, Text
from rayspin.rundir import RunDir, Summary, Table, read_lines
from rayspin.storage import Catalog

_LEDGERS = {
    "train-fcn": "metrics.jsonl",
    "train-sr": "metrics.jsonl",
    "tune": "trials.jsonl",
    "reconstruct": "shards.jsonl",
    "robustness": "cases.jsonl",
}
"""Files with the times of parts of the work: epochs, trials, shards; of evaluations, shares.jsonl."""

_EVALUATIONS = "rayspin.report.evaluations:evaluation_blocks"

_BLOCKS = {
    "generate": "rayspin.report.datasets:dataset_blocks",
    "train-fcn": "rayspin.report.trainings:training_blocks",
    "train-sr": "rayspin.report.trainings:training_blocks",
    "tune": "rayspin.report.sweeps:sweep_blocks",
    **dict.fromkeys(
        (
            "evaluate-fcn",
            "evaluate-sr",
            "cross-feeding",
            "noise-response",
            "energy-trace",
            "restoration",
            "generation",
            "external-field",
            "reconstruct",
            "robustness",
            "microscope-images",
            "microscope",
        ),
        _EVALUATIONS,
    ),
}
"""Functions that return the blocks of each kind, as "module:name". They take the folder of the run and its job."""

_DRAWN = {kind for kind, function in _BLOCKS.items() if function == _EVALUATIONS}
"""Kinds whose pictures are shown as the run wrote them; the charts of the others show the same."""

_TABULATED = {"generate", "evaluate-sr", "cross-feeding", "robustness", "microscope"}
"""Kinds whose tables contain their summary."""


def computing_time(seconds: float) -> str:
    """Return a measured time, summed over worker processes, as text."""
    return duration(seconds) if seconds >= 2 else f"{seconds:.2g} s"


def collect(path: Path) -> Section:
    """Return the section of the run in a folder.

    Raises:
        InputError: the folder holds no run, or its files are damaged.
    """
    checked_path(path, str(path))
    run = _at(path)
    job = run.asked()
    if job is None:
        raise InputError(str(path), "no run in this folder", "give the folder of a run: its --out, or runs/NAME")
    return _section(run, job, path.resolve().name)


def _at(path: Path) -> RunDir:
    """Return the folder of a run; that of a stage has the folder of its pipeline as root."""
    folder = path.resolve()
    # A damaged job file of the folder above is no reason to refuse this run.
    with suppress(InputError):
        above = RunDir.at(folder.parent).asked() or {}
        if above.get("kind") == "pipeline" and folder.name in above.get("stages", {}):
            return RunDir(path, folder.parent)
    return RunDir.at(path)


def _section(run: RunDir, job: Table, title: str) -> Section:
    """Return the section of a run whose job is known."""
    kind = str(job.get("kind"))
    about = _about(kind, str(run.job_file))
    with run.reading():
        parts = _parts(run, job)
        # Stages can run as separate jobs, which lock only the folder of the stage. The locks are read before the
        # summary, so that a run that finishes in between is not taken for an interrupted one.
        at_work = bool(holders(run.path)) or any(part.state == "in progress" for part in parts)
        summary = run.finished(job)
        state: State = "finished" if summary else "in progress" if at_work else "interrupted"
        entries = _entries(run, kind)
        measured = (entry.get("seconds") for entry in entries)
        seconds = sum(value for value in measured if isinstance(value, int | float))
        seconds += sum(part.seconds for part in parts)
        # Work that isn't recorded in parts can't be resumed, so the last session did all of it.
        if summary is not None and not seconds:
            seconds = summary.seconds
        facts = [_facts(run, job, state, summary, entries, seconds)]
        own = [*_results(kind, summary), *_own_blocks(run, job)]
        # For a run in progress, its progress is the most important information.
        blocks = [*own, *facts] if state == "finished" else [*facts, *own]
    if summary is not None and kind in _DRAWN:
        blocks += [Picture(f"{name}, as the run wrote it", run.path / name) for name in summary.pictures]
    blocks.append(Text("Job file", read_text(run.job_file, limit=RECORD_BYTES)))
    return Section(title, kind, about, state, blocks, parts, seconds)


def _parts(run: RunDir, job: Table) -> list[Section]:
    """Return the sections of the stages of a pipeline, or of the datasets of a sweep."""
    if job["kind"] == "pipeline":
        return [_stage(run.child(name), name, str(table["kind"])) for name, table in job["stages"].items()]
    if job["kind"] == "tune":
        made = sorted(path.parent for path in run.path.glob("datasets/*/job.toml"))
        return [_stage(run.child(f"datasets/{path.name}"), f"dataset {path.name}", "generate") for path in made]
    return []


def _stage(run: RunDir, title: str, kind: str) -> Section:
    job = run.asked()
    if job is None:
        return Section(title, kind, _about(kind, str(run.job_file)), "not started", [])
    return _section(run, job, title)


def _facts(
    run: RunDir, job: Table, state: State, summary: Summary | None, entries: Sequence[Table], seconds: float
) -> Facts:
    """Return the facts about a run: job, folder, times, versions and seeds."""
    hosts = Counter(entry["host"] for entry in entries if "host" in entry)
    versions = {str(entry["made_with"]) for entry in entries if "made_with" in entry}
    files = [run.job_file, run.summary_file] if state == "finished" else [run.job_file]
    times = [datetime.fromtimestamp(path.stat().st_mtime).astimezone() for path in files]
    # The stages of a pipeline state their own seeds.
    seeds = {} if job["kind"] == "pipeline" else dict(_found(job, "seed"))
    rows = {
        "kind": str(job["kind"]),
        "state": state,
        "folder": str(run.path),
        "started, finished": ", ".join(f"{time:%Y-%m-%d %H:%M:%S %Z}" for time in times),
        "computing time": _time(seconds) if seconds else "",
        "machines": ", ".join(f"{host} ({count})" for host, count in hosts.most_common(8)),
        "versions": "; ".join(sorted(versions)) or (summary.versions if summary else ""),
        "seeds": ", ".join(f"{key} = {value}" for key, value in seeds.items()),
    }
    if state != "finished" and job["kind"] != "pipeline":
        rows |= registry.progress(run, job)
    return Facts("Run", {name: value for name, value in rows.items() if value})


def _results(kind: str, summary: Summary | None) -> list[Block]:
    """Return the summary of a run, unless its tables show the same."""
    return [Facts("Results", summary.figures)] if summary and summary.figures and kind not in _TABULATED else []


def _own_blocks(run: RunDir, job: Table) -> list[Block]:
    """Return the blocks that are specific to the kind of job."""
    reference = _BLOCKS.get(job["kind"])
    if reference is None:
        return []
    module, name = reference.split(":")
    build: Callable[[RunDir, Table], list[Block]] = getattr(importlib.import_module(module), name)
    return build(run, job)


def _entries(run: RunDir, kind: str) -> list[Table]:
    """Return the entries of the ledger of a run: its shards, shares, epochs or trials."""
    if kind == "generate":
        return Catalog.history(run.path)
    return list(read_lines(run.path / _LEDGERS.get(kind, "shares.jsonl"))) if kind != "pipeline" else []


def _about(kind: str, where: str) -> str:
    """Return the first line of the description of a kind; empty if the packages of the kind are not installed."""
    try:
        return (inspect.getdoc(stage_type(kind, where)) or "").partition("\n")[0].replace("`", "")
    except ModuleNotFoundError:
        return ""


def _found(table: Any, key: str, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the dotted keys that end with `key`, and their values."""
    if isinstance(table, Mapping):
        for name, value in table.items():
            if name == key:
                yield f"{prefix}{name}", value
            else:
                yield from _found(value, key, f"{prefix}{name}.")


def _time(seconds: float) -> str:
    return f"{computing_time(seconds)} ({seconds / 3600:.3g} process-hours)"
