"""Checks of a node (`rayspin doctor`): CPUs, folders, network, Slurm, and the start and end of a Ray node."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rayspin.errors import RayspinError, RunError
from rayspin.execution.processes import adopt_orphans, end_descendants
from rayspin.execution.ray_node import STORE_BYTES, RayNode, installed, node_folder, own_ip, ray_environment
from rayspin.execution.session import Session, usable_cpus
from rayspin.launch.rendezvous import Host, HostLostError, Member, RendezvousOverError
from rayspin.rundir import write_text

RENDEZVOUS_SECONDS = 60.0
"""Seconds that the tasks of a step wait for each other; a task needs about one second to start."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: name of the check.
        found: result of the check.
        remedy: what to change; empty if the check passed.
    """

    subject: str
    found: str
    remedy: str = ""


def examine(out: Path, interface: str | None = None, scratch: Path | None = None) -> list[Finding]:
    """Check everything that a job needs on this node; starting Ray takes about fifteen seconds.

    Run this like a job on two nodes: `srun --nodes=2 --ntasks-per-node=1 --cpu-bind=none rayspin doctor`. The tasks
    then connect to each other like those of a job. All child processes of this process are ended.

    Args:
        out: folder for runs, on a file system shared by all nodes.
        interface: network interface between the nodes; None for the default.
        scratch: folder on the node's local disk; None for the default.

    Returns:
        One finding per check.
    """
    checks: dict[str, Callable[[], Finding | str]] = {
        "CPUs": _cpus,
        "shared memory": _shared_memory,
        "local disk": lambda: _scratch(scratch),
        "run folder": lambda: _run_folder(out),
        "clock": lambda: _clock(out),
        "network": lambda: _network(interface),
        "other nodes": lambda: _other_nodes(out, interface),
        "Slurm": _slurm,
        "Ray of a command": _embedded_ray,
        "Ray of a job": lambda: _ray(interface, scratch),
    }
    return [_finding_of(subject, check) for subject, check in checks.items()]


def _finding_of(subject: str, check: Callable[[], Finding | str]) -> Finding:
    try:
        found = check()
    except RayspinError as error:
        return Finding(subject, f"{error.where}: {error.problem}", error.remedy)
    except OSError as error:
        return Finding(subject, str(error), "use another folder or interface, or ask the site's support")
    return found if isinstance(found, Finding) else Finding(subject, found)


def _cpus() -> Finding | str:
    usable, granted = usable_cpus(), int(os.environ.get("SLURM_CPUS_ON_NODE", usable_cpus()))
    found = f"{usable} of {os.cpu_count()} usable"
    if usable < granted:
        return Finding("CPUs", f"{found}, but Slurm allocated {granted}", "add --cpu-bind=none to srun")
    return found


def _shared_memory() -> Finding | str:
    free = shutil.disk_usage("/dev/shm").free  # noqa: S108
    found = f"{free / 2**20:.0f} MiB free in /dev/shm"
    return found if free > STORE_BYTES else Finding("shared memory", found, f"free {STORE_BYTES >> 20} MiB for Ray")


def _scratch(scratch: Path | None) -> Finding | str:
    with node_folder(scratch) as folder:
        free = shutil.disk_usage(folder).free
        found = f"{folder.parent}: path short enough for Ray's sockets, {free / 2**30:.1f} GiB free"
    remedy = "free 1 GiB for Ray's logs, or set scratch to another folder"
    return found if free > 2**30 else Finding("local disk", found, remedy)


def _run_folder(out: Path) -> str:
    """Write, sync, rename and lock a file: the operations that keep the files of a run valid."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f".doctor-{secrets.token_hex(4)}"
    start = time.perf_counter()
    try:
        write_text(path, "written")
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        path.unlink(missing_ok=True)
    return f"{out}: written, synced, renamed and locked in {1000 * (time.perf_counter() - start):.1f} ms"


def _clock(out: Path) -> Finding | str:
    path = out / f".doctor-{secrets.token_hex(4)}"
    try:
        path.touch()
        ahead = time.time() - path.stat().st_mtime
    finally:
        path.unlink(missing_ok=True)
    found = f"differs from the file server's clock by {abs(ahead):.1f} s"
    remedy = "report this to the site's support; times in logs are not comparable"
    return found if abs(ahead) < 5 else Finding("clock", found, remedy)


def _network(interface: str | None) -> Finding | str:
    ip = own_ip(interface)
    with socket.create_server((ip, 0)) as server, socket.create_connection(server.getsockname()[:2], timeout=5):
        found = f"{socket.gethostname()} has the address {ip}"
    if ip.startswith("127."):
        known = ", ".join(name for _, name in socket.if_nameindex())
        return Finding("network", found, f"other nodes can't reach this address; set interface to one of: {known}")
    return found


def _other_nodes(out: Path, interface: str | None) -> Finding | str:
    """Connect the tasks of a step like those of a job: through an endpoint published in a shared file."""
    get = os.environ
    rank, others = int(get.get("SLURM_PROCID", "0")), int(get.get("SLURM_STEP_NUM_TASKS", "1")) - 1
    if others == 0:
        return "not tested: this step has a single task"
    path = out / f".doctor-{get['SLURM_JOB_ID']}-{get['SLURM_STEP_ID']}"
    if rank > 0:
        try:
            member = Member.join(path, rank, RENDEZVOUS_SECONDS)
            while member.hear(1.0) != "end":
                pass
        except (RendezvousOverError, HostLostError):
            return Finding("other nodes", "task 0 ended before this task connected", "see its output, and try again")
        member.leave()
        return f"connected to task 0 at {member.endpoint.host}, port {member.endpoint.port}"
    with Host(own_ip(interface)) as host, host.endpoint.published(path):
        deadline = time.monotonic() + RENDEZVOUS_SECONDS
        while len(host.present) < others and time.monotonic() < deadline:
            host.turn(0.1)
        connected = sorted(host.present.values())
        host.dismiss(seconds=5)
    path.unlink()
    if len(connected) < others:
        found = f"{len(connected)} of {others} connected{': ' if connected else ''}{', '.join(connected)}"
        return Finding("other nodes", found, "set interface, or ask the site to open TCP ports between its nodes")
    return f"{', '.join(connected)} connected, at port {host.endpoint.port}"


def _slurm() -> Finding | str:
    missing = [name for name in ("sbatch", "srun", "squeue", "scontrol", "scancel") if shutil.which(name) is None]
    if missing:
        return Finding("Slurm", f"missing: {', '.join(missing)}", "add Slurm to PATH; jobs need scontrol to requeue")
    return f"commands found in {Path(str(shutil.which('scontrol'))).parent}"


def _embedded_ray() -> str:
    """Start and stop Ray as `rayspin run` does."""
    start = time.monotonic()
    session = Session()
    try:
        cpus = session.cpus()
    finally:
        session.close()
    return f"started with {cpus} CPUs and stopped in {time.monotonic() - start:.1f} s"


def _ray(interface: str | None, scratch: Path | None) -> Finding | str:
    """Start a Ray node, and check that it accepts connections with its token and refuses those without."""
    adopt_orphans()
    with node_folder(scratch) as folder:
        log = folder / "ray.log"
        environment = ray_environment(folder, secrets.token_hex(32), interface)
        start = time.monotonic()
        ray = RayNode(folder, own_ip(interface), usable_cpus(), environment, log)
        try:
            while (address := ray.address()) is None:
                if ray.ended() is not None or time.monotonic() - start > 120:
                    raise RunError("ray start", log.read_text().strip()[-500:], "fix the reported error")
                time.sleep(0.1)
            found = f"a node in {folder.parent} started at {address} in {time.monotonic() - start:.1f} s"
            if problem := _refusal(address, environment):
                raise RunError("ray health-check", problem, "fix the reported error")
            if not _refusal(address, environment | {"RAY_AUTH_MODE": "disabled"}):
                remedy = "install the version of Ray in constraints.txt"
                return Finding("Ray of a job", f"{found}, but accepts connections without its token", remedy)
            return f"{found}, and requires its token"
        finally:
            ray.stop()
            end_descendants()


def _refusal(address: str, environment: dict[str, str]) -> str:
    """The error with which a Ray cluster refuses a client with this environment; empty if it accepts the client."""
    command = [installed("ray"), "health-check", "--address", address]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "no answer within a minute"
    return done.stderr.strip()[-500:] if done.returncode else ""
