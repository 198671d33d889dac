"""Submission: any job file on a Slurm cluster, or on this machine for a trial, through submitit.

One task a node; what the tasks do is `supervisor`. Submitit writes the script, keeps the logs and starts the
tasks; that a job goes on after a walltime, a preemption or a lost node needs nothing of it but the same
command again.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from rayspin.cluster.launch.story import read_story, tell
from rayspin.cluster.launch.submissions import Submission
from rayspin.cluster.launch.supervisor import (
    INCOMPLETE,
    ClusterJob,
    Place,
    Requests,
    driver_command,
    in_slurm,
    supervise,
)
from rayspin.cluster.session import usable_cpus
from rayspin.config import Config, build
from rayspin.errors import InputError
from rayspin.rundir import write_text

if TYPE_CHECKING:
    from submitit import JobEnvironment
    from submitit.core.core import PicklingExecutor

_handed_over: list[object] = []
"""Jobs of the local executor: they outlive their handles, but Python warns of a process that is forgotten."""

_LOCAL_REQUEUE = 144
"""The exit code by which a task asks submitit's local executor to run the job again."""


class SubmitOptions(Config):
    """Where a job runs and with what: facts of the site and of this submission, never of the job."""

    cluster: Literal["slurm", "local"] = "slurm"
    nodes: int = pydantic.Field(default=1, gt=0)
    """With cluster "local", tasks on this machine that play the nodes."""
    min_nodes: int | None = pydantic.Field(default=None, gt=0)
    """The job starts with so many if the others don't come; by default it wants all."""
    time: str = "1:00:00"
    """Walltime as Slurm takes it: minutes, hours:minutes:seconds, days-hours, days-hours:minutes, ..."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cpus_per_node: int | None = pydantic.Field(default=None, gt=0)
    """By default whole nodes (--exclusive)."""
    gpus_per_node: int = pydantic.Field(default=0, ge=0)
    memory_per_node: str | None = None
    """As Slurm takes it: "64G", "0" for all of a node's."""
    interface: str | None = None
    """Network interface between the nodes ("ib0"), if the host names lead to another."""
    scratch: str | None = None
    """Folder on the nodes' own disks, at most 30 characters; by default $TMPDIR or /tmp."""
    setup: tuple[str, ...] = ()
    """Lines of shell that run before the job: modules, environment."""
    drain_seconds: int = pydantic.Field(default=120, ge=30)
    """So long before the walltime the job takes up no more work, so that it ends in time and is requeued."""
    options: dict[str, str] = pydantic.Field(default={})
    """Further options of sbatch, without dashes: {"reservation": "weekend"}."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> SubmitOptions:
        if self.min_nodes is not None and self.min_nodes > self.nodes:
            raise InputError(
                "min_nodes",
                f"{self.min_nodes} of {self.nodes} nodes",
                "ask for more nodes, or for fewer at least",
            )
        if self.minutes * 60 <= 2 * self.drain_seconds:
            problem = f"{self.time} leaves no time to work before the drain, {self.drain_seconds} s before its end"
            raise InputError("time", problem, "ask for more time, or set drain_seconds")
        return self

    @property
    def minutes(self) -> int:
        """The walltime, rounded up to whole minutes.

        Raises:
            InputError: it is no time as Slurm takes them.
        """
        found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", self.time)
        if found is None:
            raise InputError(
                "time",
                f"{self.time!r} is no walltime",
                'write "minutes", "hours:minutes:seconds" or "days-hours"',
            )
        days, *rest = found.groups()
        parts = [int(part) for part in rest if part is not None]
        if days is not None:
            hours, minutes, seconds = (*parts, 0, 0)[:3]
        elif len(parts) == 3:
            hours, minutes, seconds = parts
        else:
            hours, (minutes, seconds) = 0, (*parts, 0)[:2]
        return int(days or 0) * 1440 + hours * 60 + minutes + (seconds > 0)


SITE_PROFILE = Path("~/.config/rayspin/site.toml")
"""Where a user keeps the options that are always the same on a site."""


def site_options(given: Mapping[str, Any], profile: Path | None = None) -> SubmitOptions:
    """The options of a site, with those given for one submission in their place.

    Args:
        given: by name, as the fields of `SubmitOptions`.
        profile: a TOML file of such options; by default `SITE_PROFILE`, if there is one.

    Raises:
        InputError: there is no such file, or anything is wrong in it or in what is given.
    """
    path = (profile or SITE_PROFILE).expanduser()
    table: dict[str, Any] = {}
    if profile is not None or path.exists():
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(str(path), f"can't be read ({error})", "give a TOML file of site options") from None
        build(SubmitOptions, table, str(path))
    return build(SubmitOptions, table | dict(given), "submit")


def submit(job_file: Path, out: Path, overrides: tuple[str, ...], options: SubmitOptions) -> Submission:
    """Hand a job over to the cluster and return at once.

    What runs is the job file as it is now, whatever becomes of it while the job waits.

    Args:
        job_file: already checked; read here once more.
        out: folder of the run, which all nodes see.
        overrides: "dotted.key=value", as `--set` takes them.
        options: where and with what.

    Raises:
        InputError: there is no such cluster here, or it refuses what is asked for.
    """
    folder = _new_folder(out.resolve() / "submissions")
    frozen = folder / "job.toml"
    write_text(frozen, job_file.read_text(encoding="utf-8"))
    task = _task(options, folder, driver_command(frozen, out.resolve(), overrides))
    executor = _executor(options, folder, job_file.stem)
    from submitit.core.utils import FailedJobError

    try:
        job = executor.submit(task)
    except FailedJobError as error:
        complaint = re.search(r"error: (?!Batch job)(.*)", str(error))
        problem = f"sbatch refuses it ({complaint[1] if complaint else error})"
        raise InputError("submit", problem, "change the options or the site profile") from None
    _handed_over.append(job)
    tell(folder, "submitted", job_id=job.job_id, cluster=options.cluster, options=options.to_table())
    return Submission(job.job_id, options.cluster, folder)


def script(job_file: Path, out: Path, overrides: tuple[str, ...], options: SubmitOptions) -> str:
    """What `submit` would hand to sbatch; nothing is written, and no Slurm is needed."""
    from submitit.slurm.slurm import _make_sbatch_string

    folder = out.resolve() / "submissions" / "001"
    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    driver = shlex.join(driver_command(folder / "job.toml", out.resolve(), overrides))
    text: str = _make_sbatch_string(command, folder, **_slurm_parameters(options, job_file.stem))
    return f"{text}# which runs, on the first node: {driver} --address HOST:PORT\n"


@dataclass(frozen=True)
class Task:
    """What submitit runs on each node; it carries no state, so that a requeued job starts from the same."""

    job: ClusterJob

    def __call__(self) -> None:
        """Do this task's part; the exit code tells how it ended."""
        from submitit import JobEnvironment

        requests = Requests()
        environment = JobEnvironment()
        if environment.cluster == "slurm":
            code = in_slurm(self.job, Place.in_slurm(), requests)
        else:
            code = _on_this_machine(self.job, environment, requests)
        if code:
            sys.exit(code)


def _on_this_machine(job: ClusterJob, environment: JobEnvironment, requests: Requests) -> int:
    tasks = environment.num_tasks
    attempt = sum(entry["event"] == "requeued" for entry in read_story(job.folder))
    place = Place(environment.job_id, attempt, environment.global_rank, tasks, max(1, usable_cpus() // tasks))
    code = supervise(job, place, requests)
    if code == INCOMPLETE and place.rank == 0 and not requests.stop:
        tell(job.folder, "requeued", attempt=attempt)
        return _LOCAL_REQUEUE
    return code


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


def _executor(options: SubmitOptions, folder: Path, name: str) -> PicklingExecutor:
    from submitit import LocalExecutor, SlurmExecutor

    if options.cluster == "slurm":
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise InputError(
                "submit", "no Slurm here (sbatch and srun)", 'log in to the cluster, or take cluster "local"'
            )
        slurm = SlurmExecutor(folder)
        slurm.update_parameters(**_slurm_parameters(options, name))
        return slurm
    local = LocalExecutor(folder)
    local.update_parameters(
        timeout_min=options.minutes,
        tasks_per_node=options.nodes,
        gpus_per_node=options.gpus_per_node,
        signal_delay_s=options.drain_seconds,
        stderr_to_stdout=True,
    )
    return local


def _slurm_parameters(options: SubmitOptions, name: str) -> dict[str, Any]:
    """The options in submitit's words."""
    return {
        "job_name": f"rayspin-{name}",
        "nodes": options.nodes,
        "ntasks_per_node": 1,
        "time": options.minutes,
        "cpus_per_task": options.cpus_per_node,
        "gpus_per_node": options.gpus_per_node or None,
        "mem": options.memory_per_node,
        "exclusive": True if options.cpus_per_node is None else None,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "setup": list(options.setup),
        "signal_delay_s": options.drain_seconds,
        "stderr_to_stdout": True,
        # Submitit's own default is refused where sites check these keys.
        "wckey": None,
        # A node that dies is done without: neither the job nor its step ends with it.
        "additional_parameters": {"requeue": True, "no-kill": True, **options.options},
        # A single task would be bound to a single core; it starts others and takes all that the job has on
        # the node.
        "srun_args": ["--cpu-bind=none", "--no-kill", "--kill-on-bad-exit=0"],
    }


def _task(options: SubmitOptions, folder: Path, command: tuple[str, ...]) -> Task:
    return Task(
        ClusterJob(
            command=command,
            folder=folder,
            min_nodes=options.min_nodes,
            drain_seconds=options.drain_seconds,
            interface=options.interface,
            scratch=None if options.scratch is None else Path(options.scratch),
        )
    )
