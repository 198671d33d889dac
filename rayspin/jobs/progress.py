"""How far a run is, whatever its kind: read from files alone."""

from __future__ import annotations

from rayspin.claims import described, holders
from rayspin.jobs import registry
from rayspin.rundir import RunDir, Table


def describe_run(run: RunDir, job: Table) -> dict[str, str]:
    """Rows of `rayspin status` for the run in a folder: kind, state, and what its kind has to say.

    Args:
        run: the folder.
        job: the resolved job that it was made for.
    """
    return {"kind": job["kind"], "state": _state(run, job), **registry.progress(run, job)}


def _state(run: RunDir, job: Table) -> str:
    if run.finished(job) is not None:
        return "finished"
    at_work = described(holders(run.path))
    return f"{at_work} works on it" if at_work else "nobody works on it; the same command goes on"
