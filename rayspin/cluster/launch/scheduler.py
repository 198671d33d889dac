"""The few commands of Slurm that are called here, each with a time limit: Slurm's way to fail is to wait."""

from __future__ import annotations

import subprocess

from rayspin.errors import RunError


def queue_entry(job_id: str) -> tuple[str, str] | None:
    """The state of a job and the reason for it ("PENDING", "Resources"); None if it is in the queue no more.

    Raises:
        RunError: Slurm does not answer.
    """
    try:
        answer = _ask("squeue", "--noheader", "--format=%T %r", f"--jobs={job_id}")
    except RunError as error:
        if "Invalid job id" in error.problem:
            return None
        raise
    state, _, reason = answer.partition(" ")
    return (state, reason) if state else None


def requeue(job_id: str) -> None:
    """Have a job run again; Slurm ends it first, and waits two minutes.

    Raises:
        RunError: Slurm refuses.
    """
    _ask("scontrol", "requeue", job_id)


def cancel(job_id: str) -> None:
    """End a job, or take it out of the queue.

    Raises:
        RunError: Slurm refuses.
    """
    _ask("scancel", job_id)


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
