"""Submission: any job file on a Slurm cluster, or on this machine for a trial, through submitit.

One task a node; what the tasks do is `supervisor`. Submitit writes the script, keeps the logs and starts the
tasks; that a job goes on after a walltime, a preemption or a lost node needs nothing of it but the same
command again.
"""

from __future__ import annotations

import atexit
import io
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayspin.errors import InputError
from rayspin.execution.session import usable_cpus
from rayspin.inputs import SETTINGS_BYTES, read_text
from rayspin.launch import attempts, submissions
from rayspin.launch.events import read_events, record_event
from rayspin.launch.exit_codes import DONE, FAILED, INCOMPLETE
from rayspin.launch.options import JobRequest
from rayspin.launch.submissions import Part, Submission
from rayspin.launch.supervisor import ClusterJob, Requests, TaskInfo, driver_command, supervise
from rayspin.paths import command as command_line
from rayspin.rundir import write_text

if TYPE_CHECKING:
    from submitit import Job, JobEnvironment
    from submitit.core.core import PicklingExecutor

_handed_over: list[object] = []
"""Jobs of the local executor: they outlive their handles, but Python warns of a process that is forgotten."""

# Submitit's handles look at files when they go; later in the end of the interpreter they no longer can.
atexit.register(_handed_over.clear)

_PYTHON = f"{shlex.quote(sys.executable)} -P"
"""Without the working folder on its path, where a user's files may shadow modules."""

_LOCAL_REQUEUE = 144
"""The exit code by which a task asks submitit's local executor to run the job again."""


def submit(job_file: Path, out: Path, overrides: tuple[str, ...], pieces: Sequence[JobRequest]) -> Submission:
    """Hand a job over to the cluster and return at once.

    What runs is the job file as it is now, whatever becomes of it while the job waits.

    Args:
        job_file: already checked; read here once more.
        out: folder of the run, which all nodes see.
        overrides: "dotted.key=value", as `--set` takes them.
        pieces: of the job, each after those that it waits for.

    Raises:
        InputError: there is no such cluster here, it refuses what is asked for, or the run is under way already.
        RunError: the scheduler does not answer.
    """
    out = out.resolve()
    _refuse_twice(out)
    cluster = _cluster(pieces)
    parent = out / "submissions"
    made = [path for path in (parent, *parent.parents) if not path.exists()]
    folder = _new_folder(parent)
    write_text(folder / "job.toml", read_text(job_file, limit=SETTINGS_BYTES))
    parts: list[Part] = []
    try:
        for piece in pieces:
            earlier = tuple(part for part in parts if part.stage in piece.after)
            parts += _hand_over(piece, _tasks(piece, folder, out, overrides, earlier), folder, job_file.stem)
    finally:
        # Even if the third of three stages is refused: what was handed over can be seen, and cancelled.
        submission = Submission(folder, cluster, time.time(), tuple(parts))
        if parts:
            submission.write()
            if len({part.stage for part in parts}) < len(pieces):
                submissions.cancel(submission)
        else:
            shutil.rmtree(folder)
            for path in made:
                # Another submission may have come meanwhile.
                with suppress(OSError):
                    path.rmdir()
    return submission


def script(job_file: Path, out: Path, overrides: tuple[str, ...], pieces: Sequence[JobRequest]) -> str:
    """What `submit` would hand to sbatch, piece by piece; nothing is written, and no Slurm is needed."""
    from submitit.slurm.slurm import _make_sbatch_string

    folder = out.resolve() / "submissions" / "001"
    command = f"{_PYTHON} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    texts = []
    for piece in pieces:
        parameters = _slurm_parameters(piece, job_file.stem, [f"JOB-ID-OF-{stage}" for stage in piece.after])
        tasks = piece.options.array if piece.options.array != 1 else None
        text = _make_sbatch_string(command, folder, map_count=tasks, **parameters)
        shards = f"K/{tasks}" if tasks else ""
        driver = driver_command(folder / "job.toml", out.resolve(), overrides, piece.stage, shards)
        texts.append(
            f"{text}# which runs, on the first node: {shlex.join(driver)}{'' if shards else ' --address HOST:PORT'}\n"
        )
    return "\n".join(texts)


@dataclass(frozen=True)
class Task:
    """What submitit runs on each node; it carries no state, so that a requeued job starts from the same.

    Attributes:
        job: what to do.
        after: jobs that must have ended well before; Slurm knows that by itself, this machine doesn't.
    """

    job: ClusterJob
    after: tuple[Part, ...] = ()

    def __call__(self) -> None:
        """Do this task's part; the exit code tells how it ended."""
        from submitit import JobEnvironment

        requests = Requests()
        environment = JobEnvironment()
        if environment.cluster == "slurm":
            code = attempts.in_slurm(self.job, TaskInfo.in_slurm(), requests)
        else:
            code = self._on_this_machine(environment, requests)
        if code:
            sys.exit(code)

    def _on_this_machine(self, environment: JobEnvironment, requests: Requests) -> int:
        tasks = environment.num_tasks
        attempt = sum(entry["event"] == "requeued" for entry in read_events(self.job.folder))
        task = TaskInfo(environment.job_id, attempt, environment.global_rank, tasks, max(1, usable_cpus() // tasks))
        code = self._wait_for_others(task, requests)
        if code == DONE:
            code = supervise(self.job, task, requests)
        if code == INCOMPLETE and task.rank == 0 and not requests.stop:
            return _LOCAL_REQUEUE if attempts.goes_on(self.job, task) else FAILED
        return code

    def _wait_for_others(self, task: TaskInfo, requests: Requests) -> int:
        """DONE once all jobs before this one are done; else how this one ends without having started."""
        before = Submission(self.job.folder, "local", 0.0, self.after)
        while self.after:
            ends = submissions.states(before)
            bad = next((part for part, end in ends.items() if end.final and end.name != "done"), None)
            if bad is None and not requests.any():
                if all(end.final for end in ends.values()):
                    break
                time.sleep(0.5)
                continue
            if task.rank == 0:
                problem = f"it never started: {bad.name} {ends[bad].name}" if bad else "it never started"
                record_event(self.job.folder, "ended", attempt=task.attempt, code=INCOMPLETE, problem=problem)
            requests.stop = True
            return INCOMPLETE
        return DONE


def _refuse_twice(out: Path) -> None:
    try:
        there = submissions.latest(out)
    except InputError:
        return
    now = submissions.state(there)
    if not now.final:
        remedy = f"{command_line('cancel', out)}, or wait for it"
        raise InputError(str(out), f"job {there.job_ids} does this run and is {now}", remedy)


def _cluster(pieces: Sequence[JobRequest]) -> str:
    """The one cluster that all pieces go to.

    Raises:
        InputError: there are two, or it isn't here.
    """
    clusters = {piece.options.cluster for piece in pieces}
    if len(clusters) > 1:
        raise InputError("cluster", "stages on two clusters share no files", "take one for all")
    (cluster,) = clusters
    if cluster == "slurm" and (shutil.which("sbatch") is None or shutil.which("srun") is None):
        raise InputError("submit", "no Slurm here (sbatch and srun)", 'log in to the cluster, or take cluster "local"')
    return cluster


def _new_folder(parent: Path) -> Path:
    """The next free number as a folder in `parent`."""
    number = 1
    while True:
        folder = parent / f"{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def _tasks(
    piece: JobRequest, folder: Path, out: Path, overrides: tuple[str, ...], earlier: tuple[Part, ...]
) -> list[tuple[int | None, Task]]:
    """What the piece runs: one task, or the numbered ones of an array."""
    options = piece.options
    found: list[tuple[int | None, Task]] = []
    for number in [None] if options.array is None else range(1, options.array + 1):
        shards = f"{number}/{options.array}" if number else ""
        job = ClusterJob(
            command=driver_command(folder / "job.toml", out, overrides, piece.stage, shards),
            # A stage that is requeued is judged by its own progress.
            out=out / piece.stage,
            folder=folder / piece.stage / (str(number) if number else ""),
            ray=number is None,
            max_attempts_without_progress=options.max_attempts_without_progress,
            min_nodes=options.min_nodes,
            drain_seconds=options.drain_seconds,
            interface=options.interface,
            scratch=None if options.scratch is None else Path(options.scratch),
        )
        found.append((number, Task(job, earlier)))
    return found


def _hand_over(piece: JobRequest, tasks: Sequence[tuple[int | None, Task]], folder: Path, name: str) -> list[Part]:
    """Submit the tasks of a piece as one job, or as one array.

    Raises:
        InputError: sbatch refuses.
    """
    from submitit.core.utils import FailedJobError

    before = tuple(dict.fromkeys(part.job_id.partition("_")[0] for part in tasks[0][1].after))
    executor = _executor(piece, folder / piece.stage, name, before)
    try:
        # Submitit repeats all that sbatch complains of; here one line says it.
        with redirect_stderr(io.StringIO()):
            if piece.options.array is None:
                jobs = [executor.submit(tasks[0][1])]
            else:
                jobs = executor.map_array(_call, [task for _, task in tasks])
    except FailedJobError as error:
        complaint = re.search(r"error: (?:Batch job submission failed: )?(.*)", str(error))
        problem = f"sbatch refuses it ({complaint[1] if complaint else error})"
        where = f"submit {piece.stage}".strip()
        raise InputError(where, problem, "change the options or the site profile") from None
    _handed_over.extend(jobs)
    return [_part(piece, job, number, task) for job, (number, task) in zip(jobs, tasks)]


def _call(task: Task) -> None:
    task()


def _part(piece: JobRequest, job: Job[None], number: int | None, task: Task) -> Part:
    return Part(job.job_id, task.job.folder, Path(job.paths.stdout), piece.stage, number, piece.after)


def _executor(piece: JobRequest, folder: Path, name: str, before: Sequence[str]) -> PicklingExecutor:
    from submitit import LocalExecutor, SlurmExecutor

    options = piece.options
    if options.cluster == "slurm":
        slurm = SlurmExecutor(folder, python=_PYTHON)
        slurm.update_parameters(**_slurm_parameters(piece, name, before))
        return slurm
    local = LocalExecutor(folder, python=_PYTHON)
    local.update_parameters(
        timeout_min=options.minutes,
        tasks_per_node=options.nodes,
        gpus_per_node=options.gpus_per_node,
        signal_delay_s=options.drain_seconds,
        stderr_to_stdout=True,
    )
    return local


def _slurm_parameters(piece: JobRequest, name: str, before: Sequence[str]) -> dict[str, Any]:
    """The options in submitit's words."""
    options = piece.options
    # Slurm drops a job whose predecessor failed, instead of keeping it in the queue for ever.
    dependency = {"dependency": "afterok:" + ":".join(before), "kill-on-invalid-dep": "yes"} if before else {}
    return {
        "job_name": "-".join(filter(None, ("rayspin", name, piece.stage))),
        "nodes": options.nodes,
        "array_parallelism": options.array or 1,
        "ntasks_per_node": 1,
        "time": options.minutes,
        "cpus_per_task": options.cpus_per_node,
        "gpus_per_node": options.gpus_per_node or None,
        "mem": options.memory_per_node,
        "exclusive": options.whole_nodes or None,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        # What can't be set up must not run with something else.
        "setup": ["set -e", *(f"module load {shlex.quote(module)}" for module in options.modules), *options.setup],
        "signal_delay_s": options.drain_seconds,
        "stderr_to_stdout": True,
        # Submitit's own default is refused where sites check these keys.
        "wckey": None,
        # A node that dies is done without: neither the job nor its step ends with it.
        "additional_parameters": {"requeue": True, "no-kill": True, **dependency, **options.options},
        # A single task would be bound to a single core; it starts others and takes all that the job has on
        # the node.
        "srun_args": ["--cpu-bind=none", "--no-kill", "--kill-on-bad-exit=0"],
    }
