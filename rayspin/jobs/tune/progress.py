"""Progress of a sweep, read from its ledger and from the metrics of the running trials."""

from __future__ import annotations

from collections import Counter

from rayspin.jobs.tune.ledger import Ledger
from rayspin.rundir import RunDir, Table
from rayspin.training import read_metrics

SHOWN_TRIALS = 8
"""Maximum number of running trials, and of failed trials, that are listed one by one."""


def progress(run: RunDir, job: Table) -> dict[str, str]:
    """Return the rows of `rayspin status` for a sweep: trials by state, the best, the running and the failed trials."""
    path = run.path
    ledger = Ledger(path)
    ends = Counter(entry.ended or ("running" if entry.started else "waiting") for entry in ledger.trials.values())
    rows = {"trials": f"{len(ledger.trials)}: " + ", ".join(f"{count} {end}" for end, count in ends.most_common())}
    if (best := ledger.best(job["metric"], most=job["goal"] == "max")) is not None:
        name, value = best
        rows["best so far"] = f"{job['metric']} {value:.5g} with {ledger.trials[name].label} ({name})"
    running = [(name, entry) for name, entry in ledger.trials.items() if entry.started and not entry.ended]
    for name, entry in running[:SHOWN_TRIALS]:
        rows[f"running {name}"] = f"{entry.label}: {len(read_metrics(path / 'trials' / name))} of {entry.started}"
    failed = [(name, entry) for name, entry in ledger.trials.items() if entry.ended == "failed"]
    for name, entry in failed[:SHOWN_TRIALS]:
        rows[f"failed {name}"] = f"{entry.label}: {entry.error} ({path / 'trials' / name / 'error.txt'})"
    if ledger.last:
        rows["time in trials"] = f"{ledger.seconds:.0f} s"
        rows["last activity"] = ledger.last
    return rows
