"""Attempts of a job: whether a job that stopped before its end is requeued or fails."""

from __future__ import annotations

import time

from rayspin.errors import RunError
from rayspin.launch import scheduler
from rayspin.launch.events import Ended, Requeued, record_event
from rayspin.launch.exit_codes import FAILED, INCOMPLETE
from rayspin.launch.progress_mark import check_progress, progress_mark
from rayspin.launch.supervisor import ClusterJob, ReceivedSignals, TaskInfo, supervise
from rayspin.output import complain


def in_slurm(job: ClusterJob, task: TaskInfo, received: ReceivedSignals) -> int:
    """Supervise this task of a Slurm job, and requeue the job if it stopped before its end and was not canceled.

    Args:
        job: the job.
        task: this task.
        received: signals received by this process.

    Returns:
        The exit code of the task, see `supervise`.
    """
    code = supervise(job, task, received)
    if code != INCOMPLETE:
        return code
    if task.rank > 0:
        # Rank 0, which would requeue the job, is lost. The tasks wait for different times; one request is enough.
        time.sleep(5 + task.rank)
    try:
        entry = scheduler.queue([task.job_id]).get(task.job_id)
        if entry is None or entry[0] != "RUNNING":
            return code
        if not goes_on(job, task):
            return FAILED
        scheduler.requeue(task.job_id)
    except RunError as error:
        _give_up(job, task, error, code)
    return code


def goes_on(job: ClusterJob, task: TaskInfo) -> bool:
    """Decide whether the job makes another attempt, and record the decision as an event.

    Args:
        job: the job.
        task: this task.

    Returns:
        False if the last attempts made no progress.
    """
    try:
        check_progress(job.folder, progress_mark(job.out), job.options.max_attempts_without_progress)
    except RunError as error:
        _give_up(job, task, error, FAILED)
        return False
    record_event(job.folder, Requeued(attempt=task.attempt))
    return True


def _give_up(job: ClusterJob, task: TaskInfo, error: RunError, code: int) -> None:
    complain(error)
    record_event(job.folder, Ended(attempt=task.attempt, code=code, problem=str(error)))
