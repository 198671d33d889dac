"""The commands of Slurm that rayspin calls, each with a time limit, because they block if Slurm does not respond."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from rayspin.errors import RunError

_REASONS = {
    "AssociationJobLimit": "a limit of your account is reached",
    "BadConstraints": "no node satisfies the job's constraints; cancel it and request less",
    "BeginTime": "Slurm starts a requeued job after two minutes",
    "Dependency": "the job depends on a job that has not ended",
    "DependencyNeverSatisfied": "the job depends on a job that failed; cancel it",
    "InvalidAccount": "you can't use the job's account; cancel it and set another account",
    "InvalidQOS": "you can't use the job's QOS; cancel it and set another QOS",
    "JobHeldAdmin": "an administrator holds the job; ask the site's support",
    "JobHeldUser": "the job is held; scontrol release starts it",
    "NodeDown": "a node required by the job is down",
    "PartitionConfig": "the job requests more than the partition has; cancel it and request fewer or smaller nodes",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition does not start jobs",
    "PartitionNodeLimit": "the job requests more nodes than the partition has or allows; cancel it and request fewer",
    "PartitionTimeLimit": "the job requests more time than the partition allows; cancel it and request less",
    "Priority": "other jobs have a higher priority",
    "ReqNodeNotAvail": "nodes required by the job are down or reserved",
    "Reservation": "the job's reservation has not begun",
    "Resources": "the job waits for nodes to become free",
}
"""Explanations of the reasons for which a job is pending (squeue(1), JOB REASON CODES)."""

_LIMITS = ("Assoc", "QOS", "MaxMemPerLimit")


def meaning(reason: str) -> str:
    """Return a pending reason of the scheduler with its explanation, or alone if it is unknown."""
    word = reason.partition(",")[0]
    known = _REASONS.get(word, "a limit of your account or QOS is reached" if word.startswith(_LIMITS) else "")
    return f"{reason}: {known}" if known else reason


def queue(job_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return state and reason ("PENDING", "Resources") of each job that is still in the queue, by job ID.

    Args:
        job_ids: job IDs: "17", or "17_3" for a task of an array. All tasks of an array are requested together.

    Raises:
        RunError: Slurm does not respond.
    """
    jobs = sorted({job_id.partition("_")[0] for job_id in job_ids})
    try:
        answer = _slurm("squeue", "--noheader", "--array", "--format=%i %T %r", f"--jobs={','.join(jobs)}")
    except RunError as error:
        if "Invalid job id" in error.problem:
            return {}
        raise
    lines = (line.split(maxsplit=2) for line in answer.splitlines())
    return {job_id: (state, reason) for job_id, state, reason in lines}


def log_and_submit_time(job_id: str) -> tuple[Path, float]:
    """Return the path of a job's log, and the time of its submission in seconds since 1970.

    Raises:
        RunError: Slurm does not respond.
    """
    answer = _slurm("scontrol", "--oneliner", "show", "job", job_id)
    facts = dict(re.findall(r"(\w+)=(\S*)", answer))
    try:
        return Path(facts["StdOut"]), datetime.fromisoformat(facts["SubmitTime"]).astimezone().timestamp()
    except (KeyError, ValueError):
        problem = f"unexpected output: {answer[:200]}"
        raise RunError(f"scontrol show job {job_id}", problem, "report this to the developers") from None


def requeue(job_id: str) -> None:
    """Requeue a job: Slurm ends it, and starts it again after two minutes or more.

    Raises:
        RunError: Slurm refuses.
    """
    _slurm("scontrol", "requeue", job_id)


def cancel(job_ids: Iterable[str]) -> None:
    """Cancel running or pending jobs; for an array, all tasks that have not ended.

    Raises:
        RunError: Slurm refuses.
    """
    _slurm("scancel", *sorted({job_id.partition("_")[0] for job_id in job_ids}))


def _slurm(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except FileNotFoundError:
        problem = "command not found"
    except subprocess.TimeoutExpired:
        problem = "no response"
    except subprocess.CalledProcessError as error:
        problem = f"failed: {' '.join(error.stderr.split())}"
    else:
        return done.stdout.strip()
    raise RunError(" ".join(command), problem, "try again later, or on a machine with Slurm")
