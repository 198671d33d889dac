"""The program of one node, for plain sbatch scripts: `srun python -m rayspin.launch JOB.toml`.

Resources are requested with options of sbatch. The record and the events, which `rayspin status` reads, are the same as
after `rayspin submit`.
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
    """Run one node of an sbatch job, with a Ray cluster over all its nodes, or one task of a job array."""
    given = _arguments().parse_args()
    requests, task = Requests(), TaskInfo.in_slurm()
    try:
        array_task, tasks = _array_task()
    except InputError as error:
        complain(error)
        return error.exit_code
    out = given.out.resolve()
    folder = out / "submissions" / task.job_id.partition("_")[0]
    # On every attempt, because the first one may have ended before it wrote the record.
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
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, shared by all nodes")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--stage", default="", help="run one stage of a pipeline; the stages before it must be done")
    parser.add_argument("--min-nodes", type=int, help="nodes to start with if the others do not come up; default: all")
    parser.add_argument("--drain-seconds", type=int, default=120, help="the N of sbatch's --signal=USR2@N")
    parser.add_argument(
        "--max-attempts-without-progress", type=int, default=3, metavar="N", help="fail after N attempts in a row"
    )
    parser.add_argument("--interface", help="network interface between the nodes")
    parser.add_argument("--scratch", type=Path, help="folder on the nodes' local disks, at most 30 characters")
    return parser


def _array_task() -> tuple[int, int]:
    """The number of this task in its array, counted from 1, and the number of tasks; (0, 0) without an array.

    Raises:
        InputError: the array has gaps, so that the number of a task does not determine its part of the work.
    """
    get = os.environ
    if "SLURM_ARRAY_TASK_ID" not in get:
        return 0, 0
    first, last, count = (int(get[f"SLURM_ARRAY_TASK_{name}"]) for name in ("MIN", "MAX", "COUNT"))
    if last - first + 1 != count:
        problem = f"{count} tasks between {first} and {last}"
        raise InputError("sbatch --array", problem, "use a range without gaps (1-16); completed work is not repeated")
    return int(get["SLURM_ARRAY_TASK_ID"]) - first + 1, count


def _submission(folder: Path, task: TaskInfo, stage: str, tasks: int) -> Submission:
    """The record of the job, or of the array of this task; all tasks would write the same record."""
    try:
        log, submitted = scheduler.log_and_submit_time(task.job_id)
    except RunError:
        log, submitted = folder / "log", time.time()
    if not tasks:
        return Submission(folder, "slurm", submitted, (Part(task.job_id, folder, log, stage),))
    job_id, first = task.job_id.partition("_")[0], int(os.environ["SLURM_ARRAY_TASK_MIN"])
    names = [f"{job_id}_{first + task - 1}" for task in range(1, tasks + 1)]
    # The logs of the other tasks differ from this task's log in the task's number.
    logs = [log.with_name(log.name.replace(task.job_id, name)) for name in names]
    parts = [Part(name, folder / str(task), log, stage, task) for task, (name, log) in enumerate(zip(names, logs), 1)]
    return Submission(folder, "slurm", submitted, tuple(parts))


if __name__ == "__main__":
    sys.exit(main())
