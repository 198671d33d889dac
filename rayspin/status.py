"""How far a run is: from files alone, while it is queued, running, dead, or on another node."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from rayspin.claims import described, holders
from rayspin.errors import InputError
from rayspin.launch import submissions
from rayspin.paths import command
from rayspin.progress import duration
from rayspin.rundir import RunDir

SHOWN_TRIALS = 8
"""Trials of a sweep that are told of one by one, of those under way and of those that failed."""

_LOOKED_BACK = 64
"""Shards that tell the rate: what it is now, not what it was on other nodes."""

_SHOWN_HOSTS = 16

_SLACK_S = 10.0
"""Time between two shards that is no pause, whatever they took: entries are dated to the second."""


def describe(path: Path) -> tuple[str, dict[str, str]]:
    """A title and a table for the run in the folder `path`, its stages and its submissions: where the last one stands.

    Raises:
        InputError: no run there, and none submitted.
    """
    run = RunDir.at(path)
    job = run.asked()
    with run.reading():
        rows = {} if job is None else _run(run, job)
    if there := submissions.history(path):
        submission = there[-1]
        by_part = submissions.states(submission)
        rows[f"job {submission.job_ids}"] = str(submissions.overall(by_part))
        for part, now in by_part.items():
            # Of many, those that need a look.
            if part.name and (len(by_part) <= submissions.FEW or now.name in {"failed", "refused", "gone"}):
                rows[_part_name(part, by_part)] = str(now)
        rows["its story"] = "\n".join(line for each in there for line in submissions.describe(each))
    if not rows:
        raise InputError(str(path), "no run there", "give the folder of a run: --out, or runs/ and the job's name")
    return f"status of {path}", rows


def _part_name(part: submissions.Part, all_parts: Iterable[submissions.Part]) -> str:
    """What a part is and does, and its job at the scheduler."""
    if part.task is None:
        return f"{part.name}: job {part.job_id}"
    tasks = sum(other.stage == part.stage for other in all_parts)
    return f"{part.name}, shards {part.task}/{tasks}: job {part.job_id}"


def _run(run: RunDir, job: dict[str, Any]) -> dict[str, str]:
    rows = {"kind": job["kind"], "state": _state(run, job)}
    match job["kind"]:
        case "pipeline":
            for name in job["stages"]:
                there = run.child(name).asked()
                stage = {"state": "not started"} if there is None else _run(run.child(name), there)
                rows |= {f"{name}: {key}": value for key, value in stage.items() if key != "kind"}
        case "generate":
            rows |= _dataset(run, job)
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


def _dataset(run: RunDir, job: dict[str, Any]) -> dict[str, str]:
    from rayspin.jobs.generate.explain import failures
    from rayspin.storage import Catalog

    path, now = run.path, time.time()
    done = Catalog.read(path).samples_done
    rows = {"samples": f"{done} of {job['samples']} ({100 * done / job['samples']:.0f} %)"}
    entries = sorted(((_seconds(entry["entered"]), entry) for entry in Catalog.history(path)), key=lambda pair: pair[0])
    at_work = holders(path)
    if entries:
        recent = _without_pause([pair for pair in entries if "seconds" in pair[1]][-_LOOKED_BACK:])
        rate = _rate([(when, entry["count"]) for when, entry in recent])
        left = job["samples"] - done
        if rate and left:
            rows["rate"] = f"{rate:.3g} samples/s over the last {len(recent)} shards"
            rows["time left"] = duration(left / rate) + ("" if at_work else " once it goes on, as fast")
        seconds = sum(entry.get("seconds", 0.0) for _, entry in entries)
        rows["core-seconds a sample"] = f"{seconds / sum(entry['count'] for _, entry in entries):.3g}"
        rows |= _hosts(entries, now)
    if at_work:
        rows |= _making(path, now)
    for holder, silent_s in at_work.items():
        rows[f"process {holder.process} on {holder.host}"] = f"{holder.task or 'the run'}, heard {silent_s:.0f} s ago"
    signs = [now - silent_s for silent_s in at_work.values()] + [when for when, _ in entries[-1:]]
    if signs:
        last = datetime.fromtimestamp(max(signs)).astimezone().isoformat(timespec="seconds")
        rows["last sign of life"] = f"{last}, {duration(max(now - max(signs), 0))} ago"
    for file, error in failures(path).items():
        rows[f"failed: {file}"] = f"{error}\n{command('explain', path, file)}"
    return rows


def _hosts(entries: list[tuple[float, dict[str, Any]]], now: float) -> dict[str, str]:
    """What each host made, and when it was last heard of."""
    shards = Counter(entry["host"] for _, entry in entries if "host" in entry)
    last = {entry["host"]: when for when, entry in entries if "host" in entry}
    return {
        f"made by {host}": f"{count} shards, the last {duration(max(now - last[host], 0))} ago"
        for host, count in shards.most_common(_SHOWN_HOSTS)
    }


def _making(path: Path, now: float) -> dict[str, str]:
    """What each host is at."""
    from rayspin.jobs.generate.making import shards_in_the_making

    started: dict[str, dict[int, float]] = {}
    for host, first_sample, when in shards_in_the_making(path):
        started.setdefault(host, {})[first_sample] = when
    return {
        f"in the making on {host}": f"{len(shards)} shards from sample {min(shards)} on, "
        f"the longest for {duration(max(now - min(shards.values()), 0))}"
        for host, shards in list(started.items())[:_SHOWN_HOSTS]
    }


def _without_pause(entries: list[tuple[float, dict[str, Any]]]) -> list[tuple[float, dict[str, Any]]]:
    """The last entries that no pause divides: a shard that took longer to come than to be made follows on one."""
    for number in range(len(entries) - 1, 0, -1):
        when, entry = entries[number]
        if when - entries[number - 1][0] > 2 * entry["seconds"] + _SLACK_S:
            return entries[number:]
    return entries


def _rate(entered: list[tuple[float, int]]) -> float:
    """Samples a second between the first and the last of some shards, by when they were entered; 0 if unknown."""
    # The first one was made before it was entered.
    samples = sum(count for _, count in entered[1:])
    between = entered[-1][0] - entered[0][0]
    return samples / between if between > 0 else 0.0


def _seconds(entered: str) -> float:
    return datetime.fromisoformat(entered).timestamp()


def _training(path: Path, job: dict[str, Any]) -> dict[str, str]:
    from rayspin.jobs.train.job import read_metrics

    history = read_metrics(path)
    rows = {"epochs": f"{len(history)} of {job['training']['epochs']}"}
    if history:
        last = history[-1]
        rows["losses"] = f"{last['training_loss']:.4g} training, {last['validation_loss']:.4g} validation"
        rows["seconds an epoch"] = f"{last['seconds']:.3g}"
    return rows


def _sweep(path: Path, job: dict[str, Any]) -> dict[str, str]:
    """A sweep from its ledger; only trials under way are looked at themselves."""
    from rayspin.jobs.tune.ledger import Ledger

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
    from rayspin.jobs.train.job import read_metrics

    return len(read_metrics(trial))
