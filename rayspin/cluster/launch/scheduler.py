"""The few commands of Slurm that are called here, each with a time limit: Slurm's way to fail is to wait."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from rayspin.errors import RunError


def queue(job_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The state of each job and the reason for it ("PENDING", "Resources"), of those that are still in the queue.

    Args:
        job_ids: "17", or "17_3" for a task of an array; all tasks of an array cost no more than one.

    Raises:
        RunError: Slurm does not answer.
    """
    jobs = sorted({job_id.partition("_")[0] for job_id in job_ids})
    try:
        answer = _ask("squeue", "--noheader", "--array", "--format=%i %T %r", f"--jobs={','.join(jobs)}")
    except RunError as error:
        if "Invalid job id" in error.problem:
            return {}
        raise
    lines = (line.split(maxsplit=2) for line in answer.splitlines())
    return {job_id: (state, reason) for job_id, state, reason in lines}


def log_and_submit_time(job_id: str) -> tuple[Path, float]:
    """Where the output of a job goes, and when it was submitted, in seconds since 1970.

    Raises:
        RunError: Slurm does not answer.
    """
    answer = _ask("scontrol", "--oneliner", "show", "job", job_id)
    facts = dict(re.findall(r"(\w+)=(\S*)", answer))
    try:
        return Path(facts["StdOut"]), datetime.fromisoformat(facts["SubmitTime"]).astimezone().timestamp()
    except (KeyError, ValueError):
        raise RunError(f"scontrol show job {job_id}", f"says: {answer[:200]}", "tell the developers") from None


def requeue(job_id: str) -> None:
    """Have a job run again; Slurm ends it first, and waits two minutes.

    Raises:
        RunError: Slurm refuses.
    """
    _ask("scontrol", "requeue", job_id)


def cancel(job_ids: Iterable[str]) -> None:
    """End jobs, or take them out of the queue; of an array, all tasks that have not ended yet.

    Raises:
        RunError: Slurm refuses.
    """
    _ask("scancel", *sorted({job_id.partition("_")[0] for job_id in job_ids}))


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except FileNotFoundError:
        problem = "is not on this machine"
    except subprocess.TimeoutExpired:
        problem = "does not answer"
    except subprocess.CalledProcessError as error:
        problem = f"says: {' '.join(error.stderr.split())}"
    else:
        return done.stdout.strip()
    raise RunError(" ".join(command), problem, "ask again later, or where Slurm runs")
