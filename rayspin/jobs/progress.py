"""Progress of a run of any kind, read from the files in its folder."""

from __future__ import annotations

from rayspin.claims import described, holders
from rayspin.jobs import registry
from rayspin.rundir import RunDir, Table


def describe_run(run: RunDir, job: Table) -> dict[str, str]:
    """Return the rows of `rayspin status` for a run: its kind, its state, and the rows that its kind adds.

    Args:
        run: folder of the run.
        job: resolved job of the folder.
    """
    return {"kind": job["kind"], "state": _state(run, job), **registry.progress(run, job)}


def _state(run: RunDir, job: Table) -> str:
    if run.finished(job) is not None:
        return "finished"
    at_work = described(holders(run.path))
    return f"running: {at_work}" if at_work else "not running; run the same command again to resume"
