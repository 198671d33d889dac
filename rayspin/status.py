"""Progress of a run and state of its submissions, for `rayspin status`.

The progress is read from files alone, so it is available while the run is queued, running on another node, or dead.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rayspin.errors import InputError
from rayspin.jobs.progress import describe_run
from rayspin.launch import submissions
from rayspin.rundir import RunDir


def describe(path: Path) -> tuple[str, dict[str, str]]:
    """Describe the run in the folder `path`, its stages, the state of its last submission and the events of all.

    Returns:
        A title, and the rows of a table as a dictionary from names to values.

    Raises:
        InputError: the folder holds no run and no submission, or its files are damaged.
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
            # Of many parts, only those that failed are listed.
            if part.name and (len(by_part) <= submissions.FEW or now.name in {"failed", "refused", "gone"}):
                rows[_part_name(part, by_part)] = str(now)
        rows["events"] = "\n".join(line for each in there for line in submissions.describe(each))
    if not rows:
        raise InputError(str(path), "no run in this folder", "give the folder of a run: its --out, or runs/NAME")
    return f"status of {path}", rows


def _part_name(part: submissions.Part, all_parts: Iterable[submissions.Part]) -> str:
    """Return the stage or task of a part with its shards and its job ID."""
    if part.task is None:
        return f"{part.name}: job {part.job_id}"
    tasks = sum(other.stage == part.stage for other in all_parts)
    return f"{part.name}, shards {part.task}/{tasks}: job {part.job_id}"
