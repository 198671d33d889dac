"""Submission of job files through submitit to a Slurm cluster, or to this machine for tests.

A job has one task per node, which runs `supervisor.supervise`. Submitit writes the sbatch script, starts the tasks and
stores their logs. To continue after the walltime, a preemption or a lost node, the same command is run again.
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
from rayspin.launch.events import Ended, Requeued, read_events, record_event
from rayspin.launch.exit_codes import DONE, FAILED, INCOMPLETE
from rayspin.launch.job_requests import JobRequest
from rayspin.launch.submissions import Part, Submission
from rayspin.launch.supervisor import ClusterJob, ReceivedSignals, TaskInfo, driver_command, supervise
from rayspin.paths import command as command_line
from rayspin.rundir import write_text

if TYPE_CHECKING:
    from submitit import Job, JobEnvironment
    from submitit.core.core import PicklingExecutor

_handles: list[object] = []
"""Handles of submitted jobs. A local job outlives its handle, but Python would warn if the handle were deleted."""

# Submitit's handles access files when they are deleted, which fails late in the shutdown of the interpreter.
atexit.register(_handles.clear)

_PYTHON = f"{shlex.quote(sys.executable)} -P"
"""Python without the working folder on its path, where files of the user may shadow modules."""

_LOCAL_REQUEUE = 144
"""Exit code by which a task requests submitit's local executor to run the job again."""


def submit(job_file: Path, out: Path, overrides: tuple[str, ...], requests: Sequence[JobRequest]) -> Submission:
    """Submit a job file to the cluster and return without waiting for its jobs.

    The job file is copied, so later changes to it do not affect the submission.

    Args:
        job_file: a valid job file.
        out: folder of the run, on a file system shared by all nodes.
        overrides: settings in the form "dotted.key=value", as for `--set`.
        requests: job requests, each after the requests on which it depends.

    Returns:
        The submission.

    Raises:
        InputError: the cluster does not exist on this machine or refuses the request, or the run is already queued or
            running.
        RunError: the scheduler does not respond.
    """
    out = out.resolve()
    _refuse_if_active(out)
    cluster = _cluster(requests)
    parent = out / "submissions"
    made = [path for path in (parent, *parent.parents) if not path.exists()]
    folder = _new_folder(parent)
    write_text(folder / "job.toml", read_text(job_file, limit=SETTINGS_BYTES))
    parts: list[Part] = []
    try:
        for request in requests:
            earlier = tuple(part for part in parts if part.stage in request.after)
            parts += _submit_tasks(request, _tasks(request, folder, out, overrides, earlier), folder, job_file.stem)
    finally:
        # If a later stage is refused, the record of the stages already submitted is written, so that they can be
        # canceled.
        submission = Submission(folder, cluster, time.time(), tuple(parts))
        if parts:
            submission.write()
            if len({part.stage for part in parts}) < len(requests):
                submissions.cancel(submission)
        else:
            shutil.rmtree(folder)
            for path in made:
                # The folder is not empty if another submission has been made in the meantime.
                with suppress(OSError):
                    path.rmdir()
    return submission


def script(job_file: Path, out: Path, overrides: tuple[str, ...], requests: Sequence[JobRequest]) -> str:
    """Return the sbatch scripts that `submit` would submit, one per request.

    Nothing is written, and Slurm need not be installed.

    Args:
        job_file: the job file.
        out: folder of the run.
        overrides: settings in the form "dotted.key=value".
        requests: job requests, each after the requests on which it depends.
    """
    from submitit.slurm.slurm import _make_sbatch_string

    folder = out.resolve() / "submissions" / "001"
    command = f"{_PYTHON} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    texts = []
    for request in requests:
        parameters = _slurm_parameters(request, job_file.stem, [f"JOB-ID-OF-{stage}" for stage in request.after])
        tasks = request.options.array if request.options.array != 1 else None
        text = _make_sbatch_string(command, folder, map_count=tasks, **parameters)
        shards = f"K/{tasks}" if tasks else ""
        driver = driver_command(folder / "job.toml", out.resolve(), overrides, request.stage, shards)
        texts.append(
            f"{text}# which runs, on the first node: {shlex.join(driver)}{'' if shards else ' --address HOST:PORT'}\n"
        )
    return "\n".join(texts)


@dataclass(frozen=True)
class SupervisorCall:
    """The callable that submitit runs on each node. It has no state, so a requeued job starts from the same object.

    Attributes:
        job: the job.
        after: jobs that must be done before. Only local tasks use this; with Slurm, the scheduler checks it.
    """

    job: ClusterJob
    after: tuple[Part, ...] = ()

    def __call__(self) -> None:
        """Supervise this task, and exit with its exit code unless it is 0."""
        from submitit import JobEnvironment

        received = ReceivedSignals()
        environment = JobEnvironment()
        if environment.cluster == "slurm":
            code = attempts.in_slurm(self.job, TaskInfo.in_slurm(), received)
        else:
            code = self._on_this_machine(environment, received)
        if code:
            sys.exit(code)

    def _on_this_machine(self, environment: JobEnvironment, received: ReceivedSignals) -> int:
        tasks = environment.num_tasks
        attempt = sum(isinstance(event, Requeued) for event in read_events(self.job.folder))
        task = TaskInfo(environment.job_id, attempt, environment.global_rank, tasks, max(1, usable_cpus() // tasks))
        code = self._wait_for_others(task, received)
        if code == DONE:
            code = supervise(self.job, task, received)
        if code == INCOMPLETE and task.rank == 0 and not received.stop:
            return _LOCAL_REQUEUE if attempts.goes_on(self.job, task) else FAILED
        return code

    def _wait_for_others(self, task: TaskInfo, received: ReceivedSignals) -> int:
        """Wait for the jobs on which this one depends.

        Returns:
            DONE once they are done; INCOMPLETE if one of them ended otherwise or a stop was requested.
        """
        before = Submission(self.job.folder, "local", 0.0, self.after)
        while self.after:
            ends = submissions.states(before)
            failed = next((part for part, end in ends.items() if end.final and end.name != "done"), None)
            if failed is None and not received.any():
                if all(end.final for end in ends.values()):
                    break
                time.sleep(0.5)
                continue
            if task.rank == 0:
                problem = f"it never started: {failed.name} {ends[failed].name}" if failed else "it never started"
                record_event(self.job.folder, Ended(attempt=task.attempt, code=INCOMPLETE, problem=problem))
            received.stop = True
            return INCOMPLETE
        return DONE


def _refuse_if_active(out: Path) -> None:
    try:
        last = submissions.latest(out)
    except InputError:
        return
    now = submissions.state(last)
    if not now.final:
        remedy = f"wait for it, or cancel it with {command_line('cancel', out)}"
        raise InputError(str(out), f"job {last.job_ids} of this run is {now}", remedy)


def _cluster(requests: Sequence[JobRequest]) -> str:
    """The cluster of all requests.

    Raises:
        InputError: the requests name different clusters, or Slurm is not available on this machine.
    """
    clusters = {request.options.cluster for request in requests}
    if len(clusters) > 1:
        raise InputError("cluster", "stages on different clusters share no files", "use one cluster for all stages")
    (cluster,) = clusters
    if cluster == "slurm" and (shutil.which("sbatch") is None or shutil.which("srun") is None):
        remedy = 'log in to the cluster, or use cluster "local"'
        raise InputError("submit", "Slurm (sbatch and srun) not found on this machine", remedy)
    return cluster


def _new_folder(parent: Path) -> Path:
    """Create a folder in `parent`, named with the next free number."""
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
    request: JobRequest, folder: Path, out: Path, overrides: tuple[str, ...], earlier: tuple[Part, ...]
) -> list[tuple[int | None, SupervisorCall]]:
    """The tasks of a request with their numbers in the array; a single task without a number if there is no array."""
    options = request.options
    found: list[tuple[int | None, SupervisorCall]] = []
    for number in [None] if options.array is None else range(1, options.array + 1):
        shards = f"{number}/{options.array}" if number else ""
        job = ClusterJob(
            command=driver_command(folder / "job.toml", out, overrides, request.stage, shards),
            # The progress of a requeued stage is measured in its own folder.
            out=out / request.stage,
            folder=folder / request.stage / (str(number) if number else ""),
            ray=number is None,
            options=options,
        )
        found.append((number, SupervisorCall(job, earlier)))
    return found


def _submit_tasks(
    request: JobRequest, tasks: Sequence[tuple[int | None, SupervisorCall]], folder: Path, name: str
) -> list[Part]:
    """Submit the tasks of a request as one job or one array.

    Args:
        request: the request.
        tasks: its tasks with their numbers in the array.
        folder: folder of the submission.
        name: name of the job file without its suffix.

    Raises:
        InputError: sbatch refuses the request.
    """
    from submitit.core.utils import FailedJobError

    before = tuple(dict.fromkeys(part.job_id.partition("_")[0] for part in tasks[0][1].after))
    executor = _executor(request, folder / request.stage, name, before)
    try:
        # Submitit prints the whole output of sbatch; the error below has its message in one line.
        with redirect_stderr(io.StringIO()):
            if request.options.array is None:
                jobs = [executor.submit(tasks[0][1])]
            else:
                jobs = executor.map_array(_call, [task for _, task in tasks])
    except FailedJobError as error:
        found = re.search(r"error: (?:Batch job submission failed: )?(.*)", str(error))
        problem = f"refused by sbatch ({found[1] if found else error})"
        where = f"submit {request.stage}".strip()
        raise InputError(where, problem, "change the options or the site profile") from None
    _handles.extend(jobs)
    return [_part(request, job, number, task) for job, (number, task) in zip(jobs, tasks)]


def _call(task: SupervisorCall) -> None:
    task()


def _part(request: JobRequest, job: Job[None], number: int | None, task: SupervisorCall) -> Part:
    return Part(job.job_id, task.job.folder, Path(job.paths.stdout), request.stage, number, request.after)


def _executor(request: JobRequest, folder: Path, name: str, before: Sequence[str]) -> PicklingExecutor:
    from submitit import LocalExecutor, SlurmExecutor

    options = request.options
    if options.cluster == "slurm":
        slurm = SlurmExecutor(folder, python=_PYTHON)
        slurm.update_parameters(**_slurm_parameters(request, name, before))
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


def _slurm_parameters(request: JobRequest, name: str, before: Sequence[str]) -> dict[str, Any]:
    """The options of a request as parameters of submitit's Slurm executor.

    Args:
        request: the request.
        name: name of the job file without its suffix.
        before: IDs of the jobs on which the job depends.
    """
    options = request.options
    # Slurm removes a job whose dependency failed, instead of keeping it in the queue forever.
    dependency = {"dependency": "afterok:" + ":".join(before), "kill-on-invalid-dep": "yes"} if before else {}
    return {
        "job_name": "-".join(filter(None, ("rayspin", name, request.stage))),
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
        "setup": [
            # The job must not run if its setup fails.
            "set -e",
            # The log has what rayspin prints, without submitit's reports about itself.
            "export SUBMITIT_LOG_LEVEL=WARNING",
            *(f"module load {shlex.quote(module)}" for module in options.modules),
            *options.setup,
        ],
        "signal_delay_s": options.drain_seconds,
        "stderr_to_stdout": True,
        # Sites that check this key refuse submitit's default.
        "wckey": None,
        # The job and its step continue without a node that fails.
        "additional_parameters": {"requeue": True, "no-kill": True, **dependency, **options.options},
        # By default the single task would be bound to one core, but its child processes use all cores of the job on the
        # node.
        "srun_args": ["--cpu-bind=none", "--no-kill", "--kill-on-bad-exit=0"],
    }
