"""What runs once on every node of a job: a supervisor that forms one Ray cluster with the others.

It never imports Ray: `ray.init` takes over signal handlers, and a driver that loses Ray's head ends without a
word. The supervisor stays apart: Ray's daemons and the driver are its children. Rank 0 starts the head,
invites the others, and when enough of them are up runs the job as `rayspin run ... --address HOST:PORT`; the
end of that is the end of the job, workers before the head, nothing left on any node. Nothing but the files of
the run is needed to go on in another job.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rayspin.errors import Incomplete, RayspinError, RunError
from rayspin.execution.processes import Child, adopt_orphans, allow_many_files, end_descendants
from rayspin.execution.ray_node import LOOPBACK, RayNode, node_folder, own_ip, ray_environment
from rayspin.execution.session import CPUS, usable_cpus
from rayspin.launch.events import record_event
from rayspin.launch.exit_codes import BAD_INPUT, DONE, FAILED, INCOMPLETE
from rayspin.launch.progress_mark import check_progress, progress_mark
from rayspin.launch.rendezvous import Host, HostLostError, Member, RendezvousOverError
from rayspin.output import complain

SHUTDOWN_SECONDS = 20.0
"""Of the time before the walltime that are kept back for stopping Ray on all nodes."""

TERMINATION_SECONDS = 20.0
"""What a driver gets after SIGTERM; Slurm kills after 30 s (KillWait) unless the site says otherwise."""

PATIENCE_SECONDS = 30.0
"""After the last node that came, before a job starts with fewer nodes than it was given."""

LARGE = 16
"""Nodes above which the head does no work of its own: it is busy with the others."""


@dataclass(frozen=True)
class ClusterJob:
    """What all nodes of a job are told.

    Attributes:
        command: the driver; `--address HOST:PORT` is put behind it, if there is a Ray cluster.
        out: folder of the run; by what grows in it an attempt is judged.
        folder: that all nodes see, for invitation, logs and events.
        ray: whether the nodes form a Ray cluster; a task of an array does without.
        max_attempts_without_progress: after so many in a row without progress the job fails.
        min_nodes: how many must be up before the driver starts, should the others not come; all if None.
        drain_seconds: how long before the walltime SIGUSR2 comes.
        start_seconds: how long to wait for nodes.
        interface: of the network between the nodes; None for that of the host names.
        scratch: folder on the nodes' own disks; None for $TMPDIR or /tmp.
    """

    command: tuple[str, ...]
    out: Path
    folder: Path
    ray: bool = True
    max_attempts_without_progress: int = 3
    min_nodes: int | None = None
    drain_seconds: int = 120
    start_seconds: float = 300.0
    interface: str | None = None
    scratch: Path | None = None


@dataclass(frozen=True)
class TaskInfo:
    """Which task of a job this process is.

    Attributes:
        job_id: as the scheduler calls it; "17_3" for a task of an array, since "17" would mean all of them.
        attempt: how many times the job was requeued.
        rank: 0 for the task with the head and the driver.
        nodes: tasks of the job.
        cpus: that this task may use.
    """

    job_id: str
    attempt: int
    rank: int
    nodes: int
    cpus: int

    @classmethod
    def in_slurm(cls) -> TaskInfo:
        """The task that `srun` gave to this process."""
        get = os.environ
        array_task = (
            f"{get['SLURM_ARRAY_JOB_ID']}_{get['SLURM_ARRAY_TASK_ID']}" if "SLURM_ARRAY_JOB_ID" in get else None
        )
        return cls(
            job_id=array_task or get["SLURM_JOB_ID"],
            attempt=int(get.get("SLURM_RESTART_COUNT", "0")),
            rank=int(get["SLURM_PROCID"]),
            nodes=int(get["SLURM_NTASKS"]),
            # Without binding of tasks, the affinity is the whole node's, even where it is shared.
            cpus=min(usable_cpus(), int(get.get("SLURM_CPUS_ON_NODE", usable_cpus()))),
        )


class Requests:
    """What signals asked for so far: `drain` (SIGUSR2: the walltime is near) or `stop` (SIGTERM, SIGINT)."""

    def __init__(self) -> None:
        self.drain = self.stop = False
        signal.signal(signal.SIGUSR2, self._note)
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)

    def any(self) -> bool:
        """Whether the job is to end early."""
        return self.drain or self.stop

    def _note(self, number: int, _frame: object) -> None:
        if number == signal.SIGUSR2:
            self.drain = True
        else:
            self.stop = True


def supervise(job: ClusterJob, task: TaskInfo, requests: Requests) -> int:
    """Do this task's part of the job, from its first process to its last.

    Returns:
        On rank 0 how the driver ended: 0 done, 1 failed, 2 bad input, 75 incomplete, to be asked again.
        Elsewhere 75 if the host was lost, and else 0: a node that fails is done without, and whether the job can
        go on without it is for rank 0 to say.
    """
    adopt_orphans()
    allow_many_files()
    job.folder.mkdir(parents=True, exist_ok=True)
    problem = None
    try:
        with node_folder(job.scratch) as local:
            node = _Node(job, task, requests, local)
            role = _alone if not job.ray else _lead if task.rank == 0 else _follow
            code = role(node)
    except RayspinError as error:
        problem = str(error)
        code = error.exit_code if task.rank == 0 or error.exit_code == INCOMPLETE else DONE
        complain(error)
    finally:
        end_descendants()
    if task.rank == 0:
        record_event(job.folder, "ended", attempt=task.attempt, code=code, **({"problem": problem} if problem else {}))
    return code


@dataclass(frozen=True)
class _Node:
    """All that a task knows."""

    job: ClusterJob
    task: TaskInfo
    requests: Requests
    local: Path

    @property
    def name(self) -> str:
        return f"task {self.task.rank} on {socket.gethostname()}"

    @property
    def rendezvous(self) -> Path:
        return self.job.folder / f"rendezvous-{self.task.attempt}.json"

    def record(self, event: str, **facts: object) -> None:
        record_event(self.job.folder, event, attempt=self.task.attempt, **facts)

    def start_ray(self, ip: str, environment: dict[str, str], join: str | None = None) -> RayNode:
        idle = join is None and self.task.nodes > LARGE
        log = self.job.folder / f"ray-{self.task.rank}.log"
        return RayNode(self.local, ip, 0 if idle else self.task.cpus, environment, log, join)

    def wait_for_ray(self, ray: RayNode, wait: Callable[[float], bool]) -> str:
        """The head's address, once this node is part of the cluster; `wait` says whether to go on waiting."""
        deadline = time.monotonic() + self.job.start_seconds
        while (address := ray.address()) is None:
            self.check(ray)
            if time.monotonic() > deadline:
                raise RunError(self.name, "Ray did not come up in time", f"see {ray.log}")
            if self.requests.any() or not wait(0.1):
                raise Incomplete(self.name, "was stopped before Ray was up", "submit again to go on")
        return address

    def check(self, ray: RayNode) -> None:
        """Raise a RunError if this node's Ray has died."""
        if ray.ended() is not None:
            kept = self.job.folder / f"ray-{self.task.rank}"
            ray.keep_logs(kept)
            raise RunError(self.name, "its Ray node died", f"see {ray.log} and {kept}; submit again to go on")


def _alone(node: _Node) -> int:
    """A job of one node without Ray: the driver, and nothing else."""
    _begin(node)
    # Whatever it puts on the node's disk goes with the job.
    environment = {**os.environ, "TMPDIR": str(node.local), CPUS: str(node.task.cpus)}
    driver = Child(node.job.command, environment)
    try:
        return _drive(node, driver, lambda _: time.sleep(0.2))
    finally:
        driver.kill()


def _lead(node: _Node) -> int:
    """Rank 0: the head, the invitation, the driver; then the end of all."""
    start = time.monotonic()
    alone = node.task.nodes == 1
    with Host(LOOPBACK if alone else own_ip(node.job.interface)) as host, host.endpoint.published(node.rendezvous):
        _begin(node)
        environment = ray_environment(node.local, host.endpoint.secret, node.job.interface, alone)
        head = node.start_ray(host.endpoint.host, environment)
        try:
            address = node.wait_for_ray(head, host.turn)
            host.tell(f"join {address}")
            _gather(node, host, head)
            hosts = [socket.gethostname(), *(host.present[rank] for rank in sorted(host.present))]
            node.record("ready", hosts=hosts, seconds=round(time.monotonic() - start, 2))
            driver = Child([*node.job.command, "--address", address], environment)
            try:
                return _drive(node, driver, _attention(node, host, head))
            finally:
                driver.kill()
        finally:
            # Workers first: a raylet whose head has vanished lingers and complains for a minute.
            host.dismiss(seconds=SHUTDOWN_SECONDS / 2)
            head.stop()


def _begin(node: _Node) -> None:
    """Tell that the job has started, unless starting again and again led nowhere."""
    mark = progress_mark(node.job.out)
    check_progress(node.job.folder, mark, node.job.max_attempts_without_progress)
    host, process = socket.gethostname(), os.getpid()
    node.record("started", host=host, process=process, nodes=node.task.nodes, mark=mark)


def _gather(node: _Node, host: Host, head: RayNode) -> None:
    """Wait for the other nodes: for all of them, or for enough of them and no news for a while."""
    others = node.task.nodes - 1
    enough = others if node.job.min_nodes is None else min(others, node.job.min_nodes - 1)
    deadline = time.monotonic() + node.job.start_seconds
    last_news, known = time.monotonic(), 0
    while len(host.up) < others:
        now = time.monotonic()
        if len(host.up) > known:
            last_news, known = now, len(host.up)
        if len(host.up) >= enough and now - last_news > PATIENCE_SECONDS:
            return
        if now > deadline:
            raise RunError("job", f"{known + 1} of {others + 1} nodes came up", f"see the logs in {node.job.folder}")
        if node.requests.any():
            raise Incomplete("job", "was stopped while it waited for its nodes", "submit again to go on")
        node.check(head)
        host.turn(0.1)


def _attention(node: _Node, host: Host, head: RayNode) -> Callable[[bool], None]:
    """What rank 0 does beside the driver: hear the other nodes, and see whether its own Ray lives."""
    present = dict(host.present)

    def look(ending: bool) -> None:
        nonlocal present
        host.turn(0.2)
        for rank in present.keys() - host.present.keys():
            node.record("lost", host=present[rank])
        present = dict(host.present)
        if not ending:
            node.check(head)

    return look


def _drive(node: _Node, driver: Child, look: Callable[[bool], None]) -> int:
    """Watch the driver to its end; asked to stop, hand that on and set it a time.

    Args:
        node: what this task knows.
        driver: the process.
        look: called a few times a second, with whether the driver was asked to end.
    """
    deadline = float("inf")
    while (code := driver.ended()) is None:
        look(deadline < float("inf"))
        if node.requests.any() and deadline == float("inf"):
            node.record("draining", reason="stop" if node.requests.stop else "walltime")
            driver.ask_to_stop()
            grace = TERMINATION_SECONDS if node.requests.stop else node.job.drain_seconds - SHUTDOWN_SECONDS
            deadline = time.monotonic() + max(grace, 5.0)
        if time.monotonic() > deadline:
            driver.kill()
    if deadline < float("inf") and code not in (DONE, BAD_INPUT):
        # However it ended, it was on request: killed, by Ray's own handler, or because its workers were
        # stopped too.
        return INCOMPLETE
    return code if code in (DONE, BAD_INPUT, INCOMPLETE) else FAILED


def _follow(node: _Node) -> int:
    """Other ranks: join, stay, and leave when the host says so."""
    try:
        member = Member.join(node.rendezvous, node.task.rank, node.job.start_seconds, node.requests.any)
    except RendezvousOverError:
        return DONE
    try:
        while (news := member.hear(1.0)) is None:
            pass
        verb, _, address = news.partition(" ")
        if verb == "end":
            return DONE
        environment = ray_environment(node.local, member.endpoint.secret, node.job.interface)
        ip = own_ip(node.job.interface) if node.job.interface else member.ip
        ray = node.start_ray(ip, environment, join=address)
        try:
            node.wait_for_ray(ray, lambda seconds: member.hear(seconds) != "end")
            member.say("up")
            while member.hear(0.5) != "end":
                if not node.requests.any():
                    node.check(ray)
        finally:
            ray.stop()
    except HostLostError:
        raise Incomplete(node.name, "the host is gone", "submit again to go on") from None
    finally:
        member.leave()
    return DONE


def driver_command(
    job_file: Path, out: Path, overrides: Sequence[str], stage: str = "", shards: str = ""
) -> tuple[str, ...]:
    """The command line of the driver, run by this Python.

    Args:
        job_file: as `rayspin run` takes it.
        out: folder of the run.
        overrides: "dotted.key=value".
        stage: the only stage of a pipeline to run; all if empty.
        shards: "k/n" for the k-th of n parts of a generation; all of it if empty.
    """
    settings = [part for override in overrides for part in ("--set", override)]
    one = [*(["--stage", stage] if stage else []), *(["--shards", shards] if shards else [])]
    return (sys.executable, "-P", "-m", "rayspin", "run", str(job_file), "--out", str(out), *settings, *one)
