"""What runs once on every node of a job: a supervisor that forms one Ray cluster with the others.

It never imports Ray: `ray.init` takes over signal handlers, and a driver that loses Ray's head ends without a
word. The supervisor stays apart: Ray's daemons and the driver are its children. Rank 0 starts the head,
invites the others, and when enough of them are up runs the job as `rayspin run ... --address HOST:PORT`; the
end of that is the end of the job, workers before the head, nothing left on any node. Nothing but the files of
the run is needed to go on in another job.

Sites without submitit start it themselves, one task a node: `srun python -m rayspin.cluster.launch.supervisor
JOB.toml --out DIR`.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rayspin.cluster.launch import scheduler
from rayspin.cluster.launch.meeting import Guest, Host, HostLostError, MeetingOverError
from rayspin.cluster.launch.processes import Child, adopt_orphans, allow_many_files, end_descendants
from rayspin.cluster.launch.ray_node import RayNode, node_folder, own_ip, ray_environment
from rayspin.cluster.launch.story import tell
from rayspin.cluster.session import usable_cpus
from rayspin.errors import Incomplete, RayspinError, RunError

DONE, FAILED, BAD_INPUT, INCOMPLETE = 0, 1, 2, 75

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
        command: the driver; `--address HOST:PORT` is put behind it.
        folder: that all nodes see, for invitation, logs and events.
        min_nodes: how many must be up before the driver starts, should the others not come; all if None.
        drain_seconds: how long before the walltime SIGUSR2 comes.
        start_seconds: how long to wait for nodes.
        interface: of the network between the nodes; None for that of the host names.
        scratch: folder on the nodes' own disks; None for $TMPDIR or /tmp.
    """

    command: tuple[str, ...]
    folder: Path
    min_nodes: int | None = None
    drain_seconds: int = 120
    start_seconds: float = 300.0
    interface: str | None = None
    scratch: Path | None = None


@dataclass(frozen=True)
class Place:
    """Which task of a job this process is.

    Attributes:
        job_id: as the scheduler calls it.
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
    def in_slurm(cls) -> Place:
        """The place that `srun` gave to this process."""
        get = os.environ
        return cls(
            job_id=get["SLURM_JOB_ID"],
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


def supervise(job: ClusterJob, place: Place, requests: Requests) -> int:
    """Do this task's part of the job, from its first process to its last.

    Returns:
        On rank 0 how the driver ended: 0 done, 1 failed, 2 bad input, 75 incomplete, to be asked again.
        Elsewhere 0, or 75 if the host was lost.
    """
    adopt_orphans()
    allow_many_files()
    job.folder.mkdir(parents=True, exist_ok=True)
    problem = None
    try:
        with node_folder(job.scratch) as local:
            node = _Node(job, place, requests, local)
            code = _lead(node) if place.rank == 0 else _follow(node)
    except RayspinError as error:
        code, problem = error.exit_code, str(error)
        print(error, file=sys.stderr, flush=True)  # noqa: T201  the log of the task is where its user looks
    finally:
        end_descendants()
    if place.rank == 0:
        tell(job.folder, "ended", attempt=place.attempt, code=code, **({"problem": problem} if problem else {}))
    return code


@dataclass(frozen=True)
class _Node:
    """All that a task knows."""

    job: ClusterJob
    place: Place
    requests: Requests
    local: Path

    @property
    def name(self) -> str:
        return f"task {self.place.rank} on {socket.gethostname()}"

    @property
    def meeting(self) -> Path:
        return self.job.folder / f"meeting-{self.place.attempt}.json"

    def tell(self, event: str, **facts: object) -> None:
        tell(self.job.folder, event, attempt=self.place.attempt, **facts)

    def start_ray(self, ip: str, environment: dict[str, str], join: str | None = None) -> RayNode:
        idle = join is None and self.place.nodes > LARGE
        log = self.job.folder / f"ray-{self.place.rank}.log"
        return RayNode(self.local, ip, 0 if idle else self.place.cpus, environment, log, join)

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
            kept = self.job.folder / f"ray-{self.place.rank}"
            ray.keep_logs(kept)
            raise RunError(self.name, "its Ray node died", f"see {ray.log} and {kept}; submit again to go on")


def _lead(node: _Node) -> int:
    """Rank 0: the head, the invitation, the driver; then the end of all."""
    start = time.monotonic()
    node.tell("started", host=socket.gethostname(), process=os.getpid(), nodes=node.place.nodes)
    with Host(own_ip(node.job.interface)) as host, host.invitation.published(node.meeting):
        environment = ray_environment(node.local, host.invitation.secret, node.job.interface)
        head = node.start_ray(host.invitation.host, environment)
        try:
            address = node.wait_for_ray(head, host.turn)
            host.tell(f"join {address}")
            _gather(node, host, head)
            hosts = [socket.gethostname(), *(host.here[rank] for rank in sorted(host.here))]
            node.tell("ready", hosts=hosts, seconds=round(time.monotonic() - start, 2))
            driver = Child([*node.job.command, "--address", address], environment)
            try:
                return _drive(node, host, head, driver)
            finally:
                driver.kill()
        finally:
            # Workers first: a raylet whose head has vanished lingers and complains for a minute.
            host.dismiss(seconds=SHUTDOWN_SECONDS / 2)
            head.stop()


def _gather(node: _Node, host: Host, head: RayNode) -> None:
    """Wait for the other nodes: for all of them, or for enough of them and no news for a while."""
    others = node.place.nodes - 1
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


def _drive(node: _Node, host: Host, head: RayNode, driver: Child) -> int:
    """Watch the driver to its end; asked to stop, hand that on and set it a time."""
    deadline = float("inf")
    present = dict(host.here)
    while (code := driver.ended()) is None:
        host.turn(0.2)
        for rank in present.keys() - host.here.keys():
            node.tell("lost", host=present[rank])
        present = dict(host.here)
        if node.requests.any() and deadline == float("inf"):
            node.tell("draining", reason="stop" if node.requests.stop else "walltime")
            driver.ask_to_stop()
            grace = TERMINATION_SECONDS if node.requests.stop else node.job.drain_seconds - SHUTDOWN_SECONDS
            deadline = time.monotonic() + max(grace, 5.0)
        if time.monotonic() > deadline:
            driver.kill()
        elif deadline == float("inf"):
            node.check(head)
    if deadline < float("inf") and code not in (DONE, BAD_INPUT):
        # However it ended, it was on request: killed, by Ray's own handler, or because its workers were
        # stopped too.
        return INCOMPLETE
    return code if code in (DONE, BAD_INPUT, INCOMPLETE) else FAILED


def _follow(node: _Node) -> int:
    """Other ranks: join, stay, and leave when the host says so."""
    try:
        guest = Guest.find(node.meeting, node.place.rank, node.job.start_seconds, node.requests.any)
    except MeetingOverError:
        return DONE
    try:
        while (news := guest.hear(1.0)) is None:
            pass
        verb, _, address = news.partition(" ")
        if verb == "end":
            return DONE
        environment = ray_environment(node.local, guest.invitation.secret, node.job.interface)
        ip = own_ip(node.job.interface) if node.job.interface else guest.ip
        ray = node.start_ray(ip, environment, join=address)
        try:
            node.wait_for_ray(ray, lambda seconds: guest.hear(seconds) != "end")
            guest.say("up")
            while guest.hear(0.5) != "end":
                if not node.requests.any():
                    node.check(ray)
        finally:
            ray.stop()
    except HostLostError:
        raise Incomplete(node.name, "the host is gone", "submit again to go on") from None
    finally:
        guest.leave()
    return DONE


def main() -> int:
    """The program of one node in Slurm, as an sbatch script runs it."""
    parser = argparse.ArgumentParser(prog="python -m rayspin.cluster.launch.supervisor", description=main.__doc__)
    parser.add_argument("job_file", metavar="JOB.toml", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, which all nodes see")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--min-nodes", type=int, help="go on without the others; default: all nodes")
    parser.add_argument("--drain-seconds", type=int, default=120, help="the N of sbatch's --signal=USR2@N")
    parser.add_argument("--interface", help="network interface between the nodes")
    parser.add_argument("--scratch", type=Path, help="folder on the nodes' own disks, at most 30 characters")
    given = parser.parse_args()
    requests, place = Requests(), Place.in_slurm()
    job = ClusterJob(
        command=driver_command(given.job_file, given.out, given.overrides),
        folder=given.out.resolve() / "submissions" / place.job_id,
        min_nodes=given.min_nodes,
        drain_seconds=given.drain_seconds,
        interface=given.interface,
        scratch=given.scratch,
    )
    return in_slurm(job, place, requests)


def in_slurm(job: ClusterJob, place: Place, requests: Requests) -> int:
    """`supervise`; if the job stopped before its end, and nobody cancelled it, have Slurm run it again."""
    code = supervise(job, place, requests)
    if code == INCOMPLETE:
        if place.rank > 0:
            # The host is lost, and with it whoever else would do this. One after the other: the first is enough.
            time.sleep(5 + place.rank)
        try:
            entry = scheduler.queue_entry(place.job_id)
            if entry is not None and entry[0] == "RUNNING":
                tell(job.folder, "requeued", attempt=place.attempt)
                scheduler.requeue(place.job_id)
        except RunError as error:
            print(error, file=sys.stderr, flush=True)  # noqa: T201
    return code


def driver_command(job_file: Path, out: Path, overrides: Sequence[str]) -> tuple[str, ...]:
    """The command line of the driver, run by this Python."""
    settings = [part for override in overrides for part in ("--set", override)]
    return (sys.executable, "-m", "rayspin", "run", str(job_file), "--out", str(out), *settings)


if __name__ == "__main__":
    sys.exit(main())
