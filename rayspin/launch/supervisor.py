"""The supervisor: one process per node of a job; together the supervisors form a Ray cluster.

A supervisor never imports Ray, because `ray.init` replaces signal handlers, and because a driver that loses Ray's head
ends without an error message. Ray's daemons and the driver are child processes of the supervisors. Rank 0 starts the
head and publishes its address, and once enough nodes are up it runs the driver,
`rayspin run ... --address HOST:PORT`. When the driver ends, the job ends: first the workers, then the head, and no
process is left on any node. To continue in another job, only the files of the run are needed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rayspin.errors import Incomplete, RayspinError, RunError
from rayspin.execution.processes import Child, adopt_orphans, allow_many_files, end_descendants
from rayspin.execution.ray_node import LOOPBACK, RayNode, node_folder, own_ip, ray_environment
from rayspin.execution.session import CPUS, usable_cpus
from rayspin.launch.events import Draining, Ended, Event, Lost, Ready, Started, record_event
from rayspin.launch.exit_codes import BAD_INPUT, DONE, FAILED, INCOMPLETE
from rayspin.launch.options import SupervisorOptions
from rayspin.launch.progress_mark import check_progress, progress_mark
from rayspin.launch.rendezvous import Host, HostLostError, Member, RendezvousOverError
from rayspin.output import complain

SHUTDOWN_SECONDS = 20.0
"""Seconds before the walltime that are reserved for stopping Ray on all nodes."""

TERMINATION_SECONDS = 20.0
"""Seconds in which the driver must end after SIGTERM. Slurm kills after 30 s (KillWait) by default."""

PATIENCE_SECONDS = 30.0
"""Seconds to wait after the last node came up before a job starts with fewer nodes than it has."""

LARGE = 16
"""Number of nodes above which the head gets no work, because it is busy managing the other nodes."""


@dataclass(frozen=True)
class ClusterJob:
    """The settings of a job, the same on all of its nodes.

    Attributes:
        command: command line of the driver; `--address HOST:PORT` is appended if there is a Ray cluster.
        out: folder of the run, from which the progress of an attempt is determined.
        folder: folder of the job for the endpoint, logs and events, on a file system shared by all nodes.
        ray: whether the nodes form a Ray cluster; False for a task of an array.
        options: options of the supervisors.
        start_seconds: seconds to wait for nodes.
    """

    command: tuple[str, ...]
    out: Path
    folder: Path
    ray: bool = True
    options: SupervisorOptions = field(default_factory=SupervisorOptions)
    start_seconds: float = 300.0


@dataclass(frozen=True)
class TaskInfo:
    """Identity of this process among the tasks of its job.

    Attributes:
        job_id: ID of the job in the scheduler; "17_3" for a task of an array, since "17" refers to the whole array.
        attempt: number of times the job was requeued.
        rank: rank of this task; 0 for the task with the head and the driver.
        nodes: number of tasks of the job, one per node.
        cpus: number of CPUs that this task may use.
    """

    job_id: str
    attempt: int
    rank: int
    nodes: int
    cpus: int

    @classmethod
    def in_slurm(cls) -> TaskInfo:
        """Read the task of this process from the environment set by `srun`."""
        get = os.environ
        array_task = (
            f"{get['SLURM_ARRAY_JOB_ID']}_{get['SLURM_ARRAY_TASK_ID']}" if "SLURM_ARRAY_JOB_ID" in get else None
        )
        return cls(
            job_id=array_task or get["SLURM_JOB_ID"],
            attempt=int(get.get("SLURM_RESTART_COUNT", "0")),
            rank=int(get["SLURM_PROCID"]),
            nodes=int(get["SLURM_NTASKS"]),
            # Tasks are not bound, so on a shared node the affinity includes CPUs of other jobs.
            cpus=min(usable_cpus(), int(get.get("SLURM_CPUS_ON_NODE", usable_cpus()))),
        )


class ReceivedSignals:
    """Installs signal handlers and records the signals received.

    Attributes:
        drain: SIGUSR2 was received: the walltime is near.
        stop: SIGTERM or SIGINT was received.
    """

    def __init__(self) -> None:
        self.drain = self.stop = False
        signal.signal(signal.SIGUSR2, self._handle_signal)
        signal.signal(signal.SIGTERM, self._handle_signal)
        signal.signal(signal.SIGINT, self._handle_signal)

    def any(self) -> bool:
        """Whether the job must end early."""
        return self.drain or self.stop

    def _handle_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGUSR2:
            self.drain = True
        else:
            self.stop = True


def supervise(job: ClusterJob, task: TaskInfo, received: ReceivedSignals) -> int:
    """Run one task of a job; no child processes are left afterwards.

    Args:
        job: the job.
        task: this task.
        received: signals received by this process.

    Returns:
        On rank 0, the result of the driver: 0 done, 1 failed, 2 bad input, 75 incomplete and to be resumed. On other
        ranks, 75 if the host was lost, otherwise 0: the job continues without nodes that fail, or rank 0 ends it.
    """
    adopt_orphans()
    allow_many_files()
    job.folder.mkdir(parents=True, exist_ok=True)
    problem = ""
    try:
        with node_folder(job.options.scratch_folder) as local:
            node = _Node(job, task, received, local)
            role = _run_without_ray if not job.ray else _run_host if task.rank == 0 else _run_member
            code = role(node)
    except RayspinError as error:
        problem = str(error)
        code = error.exit_code if task.rank == 0 or error.exit_code == INCOMPLETE else DONE
        complain(error)
    finally:
        end_descendants()
    if task.rank == 0:
        record_event(job.folder, Ended(attempt=task.attempt, code=code, problem=problem))
    return code


@dataclass(frozen=True)
class _Node:
    """The job, the task, the received signals, and the private folder of this node."""

    job: ClusterJob
    task: TaskInfo
    received: ReceivedSignals
    local: Path

    @property
    def name(self) -> str:
        return f"task {self.task.rank} on {socket.gethostname()}"

    @property
    def rendezvous(self) -> Path:
        return self.job.folder / f"rendezvous-{self.task.attempt}.json"

    def record(self, event: Event) -> None:
        record_event(self.job.folder, event)

    def start_ray(self, ip: str, environment: dict[str, str], join: str | None = None) -> RayNode:
        idle = join is None and self.task.nodes > LARGE
        log = self.job.folder / f"ray-{self.task.rank}.log"
        return RayNode(self.local, ip, 0 if idle else self.task.cpus, environment, log, join)

    def wait_for_ray(self, ray: RayNode, wait: Callable[[float], bool]) -> str:
        """Wait until this node is part of the cluster, and return the head's address.

        Args:
            ray: Ray node of this task.
            wait: waits for the given number of seconds; returns False to stop waiting.

        Raises:
            RunError: the node has died, or did not come up within `start_seconds`.
            Incomplete: a stop was requested, or `wait` returned False.
        """
        deadline = time.monotonic() + self.job.start_seconds
        while (address := ray.address()) is None:
            self.check(ray)
            if time.monotonic() > deadline:
                raise RunError(self.name, f"Ray did not start within {self.job.start_seconds:.0f} s", f"see {ray.log}")
            if self.received.any() or not wait(0.1):
                raise Incomplete(self.name, "stopped before Ray was up", "submit again to resume")
        return address

    def check(self, ray: RayNode) -> None:
        """Check that this node's Ray is running.

        Raises:
            RunError: it has died.
        """
        if ray.ended() is not None:
            log_folder = self.job.folder / f"ray-{self.task.rank}"
            ray.keep_logs(log_folder)
            raise RunError(self.name, "its Ray node died", f"see {ray.log} and {log_folder}; submit again to resume")


def _run_without_ray(node: _Node) -> int:
    """Run a job on one node without Ray, which consists of the driver only."""
    _begin(node)
    # Temporary files of the driver are deleted with the node's folder.
    environment = {**os.environ, "TMPDIR": str(node.local), CPUS: str(node.task.cpus)}
    driver = Child(node.job.command, environment)
    try:
        return _wait_for_driver(node, driver, lambda _: time.sleep(0.2))
    finally:
        driver.kill()


def _run_host(node: _Node) -> int:
    """Run rank 0: start the head, publish the endpoint, run the driver, and stop all nodes."""
    start = time.monotonic()
    alone = node.task.nodes == 1
    with (
        Host(LOOPBACK if alone else own_ip(node.job.options.interface)) as host,
        host.endpoint.published(node.rendezvous),
    ):
        _begin(node)
        environment = ray_environment(node.local, host.endpoint.secret, node.job.options.interface, alone)
        head = node.start_ray(host.endpoint.host, environment)
        try:
            address = node.wait_for_ray(head, host.turn)
            host.tell(f"join {address}")
            _wait_for_nodes(node, host, head)
            hosts = (socket.gethostname(), *(host.present[rank] for rank in sorted(host.present)))
            seconds = round(time.monotonic() - start, 2)
            node.record(Ready(attempt=node.task.attempt, hosts=hosts, seconds=seconds))
            driver = Child([*node.job.command, "--address", address], environment)
            try:
                return _wait_for_driver(node, driver, _monitor(node, host, head))
            finally:
                driver.kill()
        finally:
            # Workers end before the head, because a raylet that loses its head logs errors for a minute before it ends.
            host.dismiss(seconds=SHUTDOWN_SECONDS / 2)
            head.stop()


def _begin(node: _Node) -> None:
    """Record the start of the job.

    Raises:
        RunError: the last attempts made no progress.
    """
    mark = progress_mark(node.job.out)
    check_progress(node.job.folder, mark, node.job.options.max_attempts_without_progress)
    host, process, task = socket.gethostname(), os.getpid(), node.task
    node.record(Started(attempt=task.attempt, host=host, process=process, nodes=task.nodes, mark=mark))


def _wait_for_nodes(node: _Node, host: Host, head: RayNode) -> None:
    """Wait until all other nodes are up, or enough of them and no further node for `PATIENCE_SECONDS`.

    Args:
        node: this node.
        host: host of the rendezvous.
        head: Ray node of rank 0.

    Raises:
        RunError: too few nodes came up within `start_seconds`, or the head has died.
        Incomplete: a stop was requested.
    """
    others = node.task.nodes - 1
    enough = others if node.job.options.min_nodes is None else min(others, node.job.options.min_nodes - 1)
    deadline = time.monotonic() + node.job.start_seconds
    last_change, known = time.monotonic(), 0
    while len(host.up) < others:
        now = time.monotonic()
        if len(host.up) > known:
            last_change, known = now, len(host.up)
        if len(host.up) >= enough and (now - last_change > PATIENCE_SECONDS or now > deadline):
            return
        if now > deadline:
            raise RunError("job", f"{known + 1} of {others + 1} nodes came up", f"see the logs in {node.job.folder}")
        if node.received.any():
            raise Incomplete("job", "stopped while waiting for its nodes", "submit again to resume")
        node.check(head)
        host.turn(0.1)


def _monitor(node: _Node, host: Host, head: RayNode) -> Callable[[bool], None]:
    """Return the function that rank 0 calls while the driver runs.

    It handles messages of the other nodes, records lost nodes, and checks that the head is running.

    Args:
        node: this node.
        host: host of the rendezvous.
        head: Ray node of rank 0.
    """
    present = dict(host.present)

    def monitor(ending: bool) -> None:
        nonlocal present
        host.turn(0.2)
        for rank in present.keys() - host.present.keys():
            node.record(Lost(attempt=node.task.attempt, host=present[rank]))
        present = dict(host.present)
        if not ending:
            node.check(head)

    return monitor


def _wait_for_driver(node: _Node, driver: Child, monitor: Callable[[bool], None]) -> int:
    """Wait for the end of the driver; pass requests to stop on to it, and kill it if it does not end in time.

    Args:
        node: this node.
        driver: the driver.
        monitor: called a few times per second, with an argument that says whether the driver was asked to stop.

    Returns:
        The exit code of the job.
    """
    deadline = float("inf")
    while (code := driver.ended()) is None:
        monitor(deadline < float("inf"))
        if node.received.any() and deadline == float("inf"):
            reason = "stop" if node.received.stop else "walltime"
            node.record(Draining(attempt=node.task.attempt, reason=reason))
            driver.ask_to_stop()
            grace = TERMINATION_SECONDS if node.received.stop else node.job.options.drain_seconds - SHUTDOWN_SECONDS
            deadline = time.monotonic() + max(grace, 5.0)
        if time.monotonic() > deadline:
            driver.kill()
    if deadline < float("inf") and code not in (DONE, BAD_INPUT):
        # The driver ended on request, even if it was killed, ended by Ray's signal handler, or failed because its
        # workers were stopped too.
        return INCOMPLETE
    return code if code in (DONE, BAD_INPUT, INCOMPLETE) else FAILED


def _run_member(node: _Node) -> int:
    """Run any other rank: join the cluster, and leave it when the host ends the job."""
    try:
        member = Member.join(node.rendezvous, node.task.rank, node.job.start_seconds, node.received.any)
    except RendezvousOverError:
        return DONE
    try:
        while (message := member.hear(1.0)) is None:
            pass
        verb, _, address = message.partition(" ")
        if verb == "end":
            return DONE
        environment = ray_environment(node.local, member.endpoint.secret, node.job.options.interface)
        ip = own_ip(node.job.options.interface) if node.job.options.interface else member.ip
        ray = node.start_ray(ip, environment, join=address)
        try:
            node.wait_for_ray(ray, lambda seconds: member.hear(seconds) != "end")
            member.say("up")
            while member.hear(0.5) != "end":
                if not node.received.any():
                    node.check(ray)
        finally:
            ray.stop()
    except HostLostError:
        raise Incomplete(node.name, "lost the connection to task 0", "submit again to resume") from None
    finally:
        member.leave()
    return DONE


def driver_command(
    job_file: Path, out: Path, overrides: Sequence[str], stage: str = "", shards: str = ""
) -> tuple[str, ...]:
    """The command line of the driver, `rayspin run` with this Python.

    Args:
        job_file: the job file.
        out: folder of the run.
        overrides: settings in the form "dotted.key=value".
        stage: stage of a pipeline to run; empty for all stages.
        shards: "k/n" for the k-th of n parts of the shards of a generation; empty for all shards.
    """
    settings = [part for override in overrides for part in ("--set", override)]
    selection = [*(["--stage", stage] if stage else []), *(["--shards", shards] if shards else [])]
    return (sys.executable, "-P", "-m", "rayspin", "run", str(job_file), "--out", str(out), *settings, *selection)
