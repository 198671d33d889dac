"""The few commands of Slurm that are called here, each with a time limit: Slurm's way to fail is to wait."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from rayspin.errors import RunError

_REASONS = {
    "AssociationJobLimit": "a limit of your account is reached",
    "BadConstraints": "no node has what it asks for; cancel it and ask for less",
    "BeginTime": "Slurm starts a requeued job after two minutes",
    "Dependency": "a job before it has not ended",
    "DependencyNeverSatisfied": "a job before it failed; cancel it",
    "InvalidAccount": "the account is none of yours; cancel it and give another",
    "InvalidQOS": "the QOS is none of yours; cancel it and give another",
    "JobHeldAdmin": "an administrator holds it; ask them",
    "JobHeldUser": "it is held; scontrol release starts it",
    "NodeDown": "a node that it needs is down",
    "PartitionConfig": "it asks for more than the partition has; cancel it and ask for fewer or smaller nodes",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition takes no jobs up",
    "PartitionNodeLimit": "it asks for more nodes than the partition has or allows; cancel it and ask for fewer",
    "PartitionTimeLimit": "it asks for more time than the partition allows; cancel it and ask for less",
    "Priority": "others go first",
    "ReqNodeNotAvail": "nodes that it needs are down, or reserved for others",
    "Reservation": "its reservation has not begun",
    "Resources": "it waits for nodes to become free",
}
"""What the scheduler's reasons for a job to wait mean (squeue(1), JOB REASON CODES)."""

_LIMITS = ("Assoc", "QOS", "MaxMemPerLimit")


def meaning(reason: str) -> str:
    """A reason of the scheduler's, with what it means to a user, as far as it is known here."""
    word = reason.partition(",")[0]
    known = _REASONS.get(word, "a limit of your account or QOS is reached" if word.startswith(_LIMITS) else "")
    return f"{reason}: {known}" if known else reason


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
