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
    return {"kind": job["kind"], "state": state(run, job), **registry.progress(run, job)}


def state(run: RunDir, job: Table) -> str:
    """Return the state of a run in words: finished, running, or not running.

    Args:
        run: folder of the run.
        job: resolved job of the folder.
    """
    # The locks are read before the summary, so that a run that finishes in between does not count as stopped.
    at_work = holders(run.path)
    # Stages can run as separate jobs, which lock only the folder of the stage.
    for name in job.get("stages", {}):
        at_work |= holders(run.path / name)
    if run.finished(job) is not None:
        return "finished"
    return f"running: {described(at_work)}" if at_work else "not running; run the same command again to resume"
