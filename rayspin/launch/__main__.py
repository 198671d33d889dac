"""The program of one node, for plain sbatch scripts: `srun python -m rayspin.launch JOB.toml`.

Resources are requested with options of sbatch. The record and the events, which `rayspin status` reads, are the same as
after `rayspin submit`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from rayspin.config import build
from rayspin.errors import InputError, RunError
from rayspin.launch import scheduler
from rayspin.launch.arguments import given_options, options_of
from rayspin.launch.attempts import in_slurm
from rayspin.launch.options import SupervisorOptions
from rayspin.launch.submissions import RECORD, Part, Submission
from rayspin.launch.supervisor import ClusterJob, ReceivedSignals, TaskInfo, driver_command
from rayspin.output import complain


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("job_file", metavar="JOB.toml", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the run, on a file system shared by all nodes.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value of the job.")
@click.option("--stage", default="", metavar="NAME", help="Run one stage of a pipeline, after the stages it refers to.")
def main(job_file: Path, out: Path, overrides: tuple[str, ...], stage: str, **options: Any) -> None:
    """Run one node of an sbatch job, with a Ray cluster over all its nodes, or one task of a job array.

    Set --drain-seconds to the N of sbatch's --signal=USR2@N.
    """
    try:
        given = build(SupervisorOptions, given_options(options, SupervisorOptions), "rayspin.launch")
        code = _run(job_file, out.resolve(), overrides, stage, given)
    except InputError as error:
        complain(error)
        code = error.exit_code
    sys.exit(code)


main.params.extend(options_of(SupervisorOptions))


def _run(job_file: Path, out: Path, overrides: tuple[str, ...], stage: str, options: SupervisorOptions) -> int:
    received, task = ReceivedSignals(), TaskInfo.in_slurm()
    array_task, tasks = _array_task()
    folder = out / "submissions" / task.job_id.partition("_")[0]
    # On every attempt, because the first one may have ended before it wrote the record.
    if task.rank == 0 and not (folder / RECORD).exists():
        folder.mkdir(parents=True, exist_ok=True)
        _submission(folder, task, stage, tasks).write()
    shards = f"{array_task}/{tasks}" if tasks else ""
    job = ClusterJob(
        command=driver_command(job_file, out, overrides, stage, shards),
        out=out,
        folder=folder / str(array_task) if tasks else folder,
        ray=not tasks,
        options=options,
    )
    return in_slurm(job, task, received)


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
    main()
