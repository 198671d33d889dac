"""From one attempt at a job to the next: who asks for another, and who says that there is none."""

from __future__ import annotations

import time

from rayspin.errors import RunError
from rayspin.launch import scheduler
from rayspin.launch.events import tell
from rayspin.launch.exit_codes import FAILED, INCOMPLETE
from rayspin.launch.progress_mark import check_progress, progress_mark
from rayspin.launch.supervisor import ClusterJob, Place, Requests, supervise
from rayspin.output import complain


def in_slurm(job: ClusterJob, place: Place, requests: Requests) -> int:
    """`supervise`; if the job stopped before its end, and nobody cancelled it, have Slurm run it again."""
    code = supervise(job, place, requests)
    if code != INCOMPLETE:
        return code
    if place.rank > 0:
        # The host is lost, and with it whoever else would do this. One after the other: the first is enough.
        time.sleep(5 + place.rank)
    try:
        entry = scheduler.queue([place.job_id]).get(place.job_id)
        if entry is None or entry[0] != "RUNNING":
            return code
        if not goes_on(job, place):
            return FAILED
        scheduler.requeue(place.job_id)
    except RunError as error:
        _give_up(job, place, error, code)
    return code


def goes_on(job: ClusterJob, place: Place) -> bool:
    """Whether there is to be another attempt; the story is told either way."""
    try:
        check_progress(job.folder, progress_mark(job.out), job.fruitless_attempts)
    except RunError as error:
        _give_up(job, place, error, FAILED)
        return False
    tell(job.folder, "requeued", attempt=place.attempt)
    return True


def _give_up(job: ClusterJob, place: Place, error: RunError, code: int) -> None:
    complain(error)
    tell(job.folder, "ended", attempt=place.attempt, code=code, problem=str(error))
