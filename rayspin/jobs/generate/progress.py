"""Progress of a dataset, read from its files."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from rayspin.claims import holders
from rayspin.jobs.generate.explain import failures
from rayspin.jobs.generate.making import shards_in_the_making
from rayspin.paths import command
from rayspin.progress import counted, duration
from rayspin.rundir import RunDir, Table
from rayspin.storage import Catalog

_LOOKED_BACK = 64
"""Number of most recent shards from which the rate is computed."""

_SHOWN_HOSTS = 16

_SLACK_S = 10.0
"""Shorter intervals between two shards are not counted as a pause. Timestamps have a resolution of one second."""


def progress(run: RunDir, job: Table) -> dict[str, str]:
    """Return the rows of `rayspin status` for a dataset: samples, rate, hosts and failures."""
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
            rows["time left"] = duration(left / rate) + ("" if at_work else " at this rate, once resumed")
        seconds = sum(entry.get("seconds", 0.0) for _, entry in entries)
        rows["process-seconds per sample"] = f"{seconds / sum(entry['count'] for _, entry in entries):.3g}"
        rows |= _hosts(entries, now)
    if at_work:
        rows |= _making(path, now)
    for holder, silent_s in at_work.items():
        task = holder.task or "all shards"
        rows[f"process {holder.process} on {holder.host}"] = f"{task}, active {silent_s:.0f} s ago"
    signs = [now - silent_s for silent_s in at_work.values()] + [when for when, _ in entries[-1:]]
    if signs:
        last = datetime.fromtimestamp(max(signs)).astimezone().isoformat(timespec="seconds")
        rows["last activity"] = f"{last}, {duration(max(now - max(signs), 0))} ago"
    for file, error in failures(path).items():
        rows[f"failed: {file}"] = f"{error}\n{command('explain', path, file)}"
    return rows


def _hosts(entries: list[tuple[float, dict[str, Any]]], now: float) -> dict[str, str]:
    """Return the number of shards of each host and the time since its last one."""
    shards = Counter(entry["host"] for _, entry in entries if "host" in entry)
    last = {entry["host"]: when for when, entry in entries if "host" in entry}
    return {
        f"made by {host}": f"{counted(count, 'shard')}, the last {duration(max(now - last[host], 0))} ago"
        for host, count in shards.most_common(_SHOWN_HOSTS)
    }


def _making(path: Path, now: float) -> dict[str, str]:
    """Return the shards in progress on each host."""
    started: dict[str, dict[int, float]] = {}
    for host, first_sample, when in shards_in_the_making(path):
        started.setdefault(host, {})[first_sample] = when
    return {
        f"in progress on {host}": f"{counted(len(shards), 'shard')}, the first from sample {min(shards)}, "
        f"the oldest started {duration(max(now - min(shards.values()), 0))} ago"
        for host, shards in list(started.items())[:_SHOWN_HOSTS]
    }


def _without_pause(entries: list[tuple[float, dict[str, Any]]]) -> list[tuple[float, dict[str, Any]]]:
    """Return the entries after the last pause.

    A pause is an interval between two entries that is longer than twice the time that the later shard took.
    """
    for number in range(len(entries) - 1, 0, -1):
        when, entry = entries[number]
        if when - entries[number - 1][0] > 2 * entry["seconds"] + _SLACK_S:
            return entries[number:]
    return entries


def _rate(entered: list[tuple[float, int]]) -> float:
    """Return the samples per second between the first and the last of (time of record, samples) pairs; 0 if unknown."""
    # The samples of the first shard were made before the interval.
    samples = sum(count for _, count in entered[1:])
    between = entered[-1][0] - entered[0][0]
    return samples / between if between > 0 else 0.0


def _seconds(entered: str) -> float:
    return datetime.fromisoformat(entered).timestamp()
