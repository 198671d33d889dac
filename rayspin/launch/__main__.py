"""The program of one node, for sites that want plain sbatch scripts: `srun python -m rayspin.launch JOB.toml`.

Resources are options of sbatch; the events and the record that `rayspin status` reads are the same as after
`rayspin submit`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from rayspin.errors import InputError, RunError
from rayspin.launch import scheduler
from rayspin.launch.attempts import in_slurm
from rayspin.launch.submissions import RECORD, Part, Submission
from rayspin.launch.supervisor import ClusterJob, Requests, TaskInfo, driver_command
from rayspin.output import complain


def main() -> int:
    """One node of a job that an sbatch script started, on a Ray cluster over all its nodes; or one task of an array."""
    given = _arguments().parse_args()
    requests, task = Requests(), TaskInfo.in_slurm()
    try:
        array_task, tasks = _array_task()
    except InputError as error:
        complain(error)
        return error.exit_code
    out = given.out.resolve()
    folder = out / "submissions" / task.job_id.partition("_")[0]
    # Not only of the first attempt: that may have ended before it came here.
    if task.rank == 0 and not (folder / RECORD).exists():
        folder.mkdir(parents=True, exist_ok=True)
        _submission(folder, task, given.stage, tasks).write()
    shards = f"{array_task}/{tasks}" if tasks else ""
    job = ClusterJob(
        command=driver_command(given.job_file, out, given.overrides, given.stage, shards),
        out=out,
        folder=folder / str(array_task) if tasks else folder,
        ray=not tasks,
        max_attempts_without_progress=given.max_attempts_without_progress,
        min_nodes=given.min_nodes,
        drain_seconds=given.drain_seconds,
        interface=given.interface,
        scratch=given.scratch,
    )
    return in_slurm(job, task, requests)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rayspin.launch", description=main.__doc__)
    parser.add_argument("job_file", metavar="JOB.toml", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, which all nodes see")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--stage", default="", help="one stage of a pipeline, those before it having ended")
    parser.add_argument("--min-nodes", type=int, help="go on without the others; default: all nodes")
    parser.add_argument("--drain-seconds", type=int, default=120, help="the N of sbatch's --signal=USR2@N")
    parser.add_argument(
        "--max-attempts-without-progress", type=int, default=3, metavar="N", help="fail after N in a row"
    )
    parser.add_argument("--interface", help="network interface between the nodes")
    parser.add_argument("--scratch", type=Path, help="folder on the nodes' own disks, at most 30 characters")
    return parser


def _array_task() -> tuple[int, int]:
    """Which task of the array this is, from 1 on, and of how many; (0, 0) if there is no array.

    Raises:
        InputError: the array has gaps, so that a task's number doesn't say which part of the work is its own.
    """
    get = os.environ
    if "SLURM_ARRAY_TASK_ID" not in get:
        return 0, 0
    first, last, count = (int(get[f"SLURM_ARRAY_TASK_{name}"]) for name in ("MIN", "MAX", "COUNT"))
    if last - first + 1 != count:
        problem = f"{count} tasks between {first} and {last}"
        raise InputError("sbatch --array", problem, "give a range without gaps (1-16): what is done is not done again")
    return int(get["SLURM_ARRAY_TASK_ID"]) - first + 1, count


def _submission(folder: Path, task: TaskInfo, stage: str, tasks: int) -> Submission:
    """The record of the job, or of the array that this task belongs to: each task would write the same."""
    try:
        log, submitted = scheduler.log_and_submit_time(task.job_id)
    except RunError:
        log, submitted = folder / "log", time.time()
    if not tasks:
        return Submission(folder, "slurm", submitted, (Part(task.job_id, folder, log, stage),))
    job_id, first = task.job_id.partition("_")[0], int(os.environ["SLURM_ARRAY_TASK_MIN"])
    names = [f"{job_id}_{first + task - 1}" for task in range(1, tasks + 1)]
    # Slurm made this task's log out of a pattern; the others' differ in the task's number.
    logs = [log.with_name(log.name.replace(task.job_id, name)) for name in names]
    parts = [Part(name, folder / str(task), log, stage, task) for task, (name, log) in enumerate(zip(names, logs), 1)]
    return Submission(folder, "slurm", submitted, tuple(parts))


if __name__ == "__main__":
    sys.exit(main())
