"""How far a run is: from files alone, while it is queued, running, dead, or on another node."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from rayspin.claims import described, holders
from rayspin.cluster.launch import submissions
from rayspin.errors import InputError
from rayspin.rundir import RunDir

SHOWN_TRIALS = 8
"""Trials of a sweep that are told of one by one, of those under way and of those that failed."""


def describe(path: Path) -> tuple[str, dict[str, str]]:
    """A title and a table for the run in the folder `path`, its stages and its last submission.

    Raises:
        InputError: no run there, and none submitted.
    """
    run = RunDir.at(path)
    job = run.asked()
    rows = {} if job is None else _run(run, job)
    if (path / "submissions").is_dir():
        submission = submissions.latest(path)
        now = submissions.state(submission)
        rows[f"job {submission.job_id}"] = f"{now.name} {now.why}".strip()
        rows["its story"] = "\n".join(submissions.describe(submission))
    if not rows:
        raise InputError(str(path), "no run there", "give the folder of a run: --out, or runs/ and the job's name")
    return f"status of {path}", rows


def _run(run: RunDir, job: dict[str, Any]) -> dict[str, str]:
    rows = {"kind": job["kind"], "state": _state(run, job)}
    match job["kind"]:
        case "pipeline":
            for name in job["stages"]:
                there = run.child(name).asked()
                stage = {"state": "not started"} if there is None else _run(run.child(name), there)
                rows |= {f"{name}: {key}": value for key, value in stage.items() if key != "kind"}
        case "generate":
            rows |= _dataset(run.path, job)
        case "train-fcn" | "train-sr":
            rows |= _training(run.path, job)
        case "tune":
            rows |= _sweep(run.path, job)
    return rows


def _state(run: RunDir, job: dict[str, Any]) -> str:
    if run.finished(job) is not None:
        return "finished"
    at_work = described(holders(run.path))
    return f"{at_work} works on it" if at_work else "nobody works on it; the same command goes on"


def _dataset(path: Path, job: dict[str, Any]) -> dict[str, str]:
    from rayspin.storage import Catalog

    done = Catalog.read(path).samples_done
    entries = Catalog.history(path)
    rows = {"samples": f"{done} of {job['samples']}"}
    if entries:
        seconds = sum(entry.get("seconds", 0.0) for entry in entries)
        counts = Counter(entry.get("host", "?") for entry in entries)
        rows["shards by host"] = ", ".join(f"{host} {count}" for host, count in counts.most_common())
        rows["core-seconds a sample"] = f"{seconds / sum(entry['count'] for entry in entries):.3g}"
        rows["last sign of life"] = max(entry["entered"] for entry in entries)
    failed = sorted(path.glob("failed-*.txt"))
    if failed:
        rows["failed shards"] = ", ".join(file.name for file in failed)
    return rows


def _training(path: Path, job: dict[str, Any]) -> dict[str, str]:
    from rayspin.cluster.train import read_metrics

    history = read_metrics(path)
    rows = {"epochs": f"{len(history)} of {job['training']['epochs']}"}
    if history:
        last = history[-1]
        rows["losses"] = f"{last['training_loss']:.4g} training, {last['validation_loss']:.4g} validation"
        rows["seconds an epoch"] = f"{last['seconds']:.3g}"
    return rows


def _sweep(path: Path, job: dict[str, Any]) -> dict[str, str]:
    """A sweep from its ledger; only trials under way are looked at themselves."""
    from rayspin.cluster.sweep.ledger import Ledger

    ledger = Ledger(path)
    ends = Counter(entry.ended or ("running" if entry.started else "waiting") for entry in ledger.trials.values())
    rows = {"trials": f"{len(ledger.trials)}: " + ", ".join(f"{count} {end}" for end, count in ends.most_common())}
    if (best := ledger.best(job["metric"], most=job["goal"] == "max")) is not None:
        name, value = best
        rows["best so far"] = f"{job['metric']} {value:.5g} with {ledger.trials[name].label} ({name})"
    running = [(name, entry) for name, entry in ledger.trials.items() if entry.started and not entry.ended]
    for name, entry in running[:SHOWN_TRIALS]:
        rows[f"running {name}"] = f"{entry.label}: {_epochs(path / 'trials' / name)} of {entry.started}"
    failed = [(name, entry) for name, entry in ledger.trials.items() if entry.ended == "failed"]
    for name, entry in failed[:SHOWN_TRIALS]:
        rows[f"failed {name}"] = f"{entry.label}: {entry.error} ({path / 'trials' / name / 'error.txt'})"
    if ledger.last:
        rows["core time"] = f"{ledger.seconds:.0f} s"
        rows["last sign of life"] = ledger.last
    return rows


def _epochs(trial: Path) -> int:
    from rayspin.cluster.train import read_metrics

    return len(read_metrics(trial))
