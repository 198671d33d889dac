"""How far a run is: from files alone, while it is queued, running, dead, or on another node."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rayspin.errors import InputError
from rayspin.jobs.progress import describe_run
from rayspin.launch import submissions
from rayspin.rundir import RunDir


def describe(path: Path) -> tuple[str, dict[str, str]]:
    """A title and a table for the run in the folder `path`, its stages and its submissions: where the last one stands.

    Raises:
        InputError: no run there, and none submitted.
    """
    run = RunDir.at(path)
    job = run.asked()
    with run.reading():
        rows = {} if job is None else describe_run(run, job)
    if there := submissions.history(path):
        submission = there[-1]
        by_part = submissions.states(submission)
        rows[f"job {submission.job_ids}"] = str(submissions.overall(by_part))
        for part, now in by_part.items():
            # Of many, those that need a look.
            if part.name and (len(by_part) <= submissions.FEW or now.name in {"failed", "refused", "gone"}):
                rows[_part_name(part, by_part)] = str(now)
        rows["events"] = "\n".join(line for each in there for line in submissions.describe(each))
    if not rows:
        raise InputError(str(path), "no run there", "give the folder of a run: --out, or runs/ and the job's name")
    return f"status of {path}", rows


def _part_name(part: submissions.Part, all_parts: Iterable[submissions.Part]) -> str:
    """What a part is and does, and its job at the scheduler."""
    if part.task is None:
        return f"{part.name}: job {part.job_id}"
    tasks = sum(other.stage == part.stage for other in all_parts)
    return f"{part.name}, shards {part.task}/{tasks}: job {part.job_id}"
