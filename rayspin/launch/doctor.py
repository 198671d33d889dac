"""What a node gives to a job, tried out: CPUs, folders, network, Slurm, and a Ray node started and stopped."""

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
"""What the tasks of a step may be late by; the first of them comes up in a second."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and what to change if that won't do (empty if it will)."""

    subject: str
    found: str
    remedy: str = ""


def examine(out: Path, interface: str | None = None, scratch: Path | None = None) -> list[Finding]:
    """Try all that a job needs on this node; takes about fifteen seconds, for Ray.

    Best run as a job would be, on two nodes: `srun --nodes=2 --ntasks-per-node=1 --cpu-bind=none rayspin doctor`; its
    tasks then meet as a job's do. Ends all children of this process.

    Args:
        out: a folder where runs go, on the file system that all nodes see.
        interface: the network interface between the nodes, if not the default.
        scratch: a folder on the node's own disk, if not the default.
    """
    checks: dict[str, Callable[[], Finding | str]] = {
        "CPUs": _cpus,
        "shared memory": _shared_memory,
        "node's own disk": lambda: _scratch(scratch),
        "run folder": lambda: _run_folder(out),
        "clock": lambda: _clock(out),
        "network": lambda: _network(interface),
        "other nodes": lambda: _other_nodes(out, interface),
        "Slurm": _slurm,
        "Ray of one command": _embedded_ray,
        "Ray of a job": lambda: _ray(interface, scratch),
    }
    return [_tried(subject, check) for subject, check in checks.items()]


def _tried(subject: str, check: Callable[[], Finding | str]) -> Finding:
    try:
        found = check()
    except RayspinError as error:
        return Finding(subject, f"{error.where}: {error.problem}", error.remedy)
    except OSError as error:
        return Finding(subject, str(error), "ask the site, or take another folder or interface")
    return found if isinstance(found, Finding) else Finding(subject, found)


def _cpus() -> Finding | str:
    usable, granted = usable_cpus(), int(os.environ.get("SLURM_CPUS_ON_NODE", usable_cpus()))
    found = f"{usable} of the machine's {os.cpu_count()} may be used"
    if usable < granted:
        return Finding("CPUs", f"{found}, and Slurm gave {granted}", "add --cpu-bind=none to srun")
    return found


def _shared_memory() -> Finding | str:
    free = shutil.disk_usage("/dev/shm").free  # noqa: S108
    found = f"{free / 2**20:.0f} MiB free in /dev/shm"
    return found if free > STORE_BYTES else Finding("shared memory", found, f"Ray wants {STORE_BYTES >> 20} MiB there")


def _scratch(scratch: Path | None) -> Finding | str:
    with node_folder(scratch) as folder:
        free = shutil.disk_usage(folder).free
        found = f"{folder.parent}: a path short enough for Ray's sockets, {free / 2**30:.1f} GiB free"
    return found if free > 2**30 else Finding("node's own disk", found, "Ray's logs want 1 GiB; set scratch to another")


def _run_folder(out: Path) -> str:
    """A file written aside, synced and renamed, and a lock: what runs are safe by."""
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
    found = f"{abs(ahead):.1f} s off the file server's"
    return found if abs(ahead) < 5 else Finding("clock", found, "tell the site; times in logs will mislead")


def _network(interface: str | None) -> Finding | str:
    ip = own_ip(interface)
    with socket.create_server((ip, 0)) as server, socket.create_connection(server.getsockname()[:2], timeout=5):
        found = f"{socket.gethostname()} is {ip}"
    if ip.startswith("127."):
        known = ", ".join(name for _, name in socket.if_nameindex())
        return Finding("network", found, f"other nodes can't reach that; set interface to one of: {known}")
    return found


def _other_nodes(out: Path, interface: str | None) -> Finding | str:
    """The tasks of a step meet as those of a job do: by a file that all see, at a port of the kernel's choice."""
    get = os.environ
    rank, others = int(get.get("SLURM_PROCID", "0")), int(get.get("SLURM_STEP_NUM_TASKS", "1")) - 1
    if others == 0:
        return "not tried: srun gave no second node"
    path = out / f".doctor-{get['SLURM_JOB_ID']}-{get['SLURM_STEP_ID']}"
    if rank > 0:
        try:
            member = Member.join(path, rank, RENDEZVOUS_SECONDS)
            while member.hear(1.0) != "end":
                pass
        except (RendezvousOverError, HostLostError):
            return Finding("other nodes", "task 0 did not wait for this one", "try again; see what task 0 says")
        member.leave()
        return f"task 0 answers at {member.endpoint.host}, port {member.endpoint.port}"
    with Host(own_ip(interface)) as host, host.endpoint.published(path):
        deadline = time.monotonic() + RENDEZVOUS_SECONDS
        while len(host.present) < others and time.monotonic() < deadline:
            host.turn(0.1)
        came = sorted(host.present.values())
        host.dismiss(seconds=5)
    path.unlink()
    if len(came) < others:
        found = f"{', '.join(came) or 'nobody'} came, of {others}"
        return Finding("other nodes", found, "set interface; or have the site open TCP ports between its nodes")
    return f"{', '.join(came)} came, at port {host.endpoint.port}"


def _slurm() -> Finding | str:
    missing = [name for name in ("sbatch", "srun", "squeue", "scontrol", "scancel") if shutil.which(name) is None]
    if missing:
        return Finding("Slurm", f"no {', '.join(missing)} here", "without scontrol on the nodes jobs can't requeue")
    return f"commands in {Path(str(shutil.which('scontrol'))).parent}"


def _embedded_ray() -> str:
    """Ray starts as it does for `rayspin run`."""
    start = time.monotonic()
    session = Session()
    try:
        cpus = session.cpus()
    finally:
        session.close()
    return f"came up with {cpus} CPUs and ended in {time.monotonic() - start:.1f} s"


def _ray(interface: str | None, scratch: Path | None) -> Finding | str:
    """A Ray node comes up, lets in who has its token, and nobody else."""
    adopt_orphans()
    with node_folder(scratch) as folder:
        log = folder / "ray.log"
        environment = ray_environment(folder, secrets.token_hex(32), interface)
        start = time.monotonic()
        ray = RayNode(folder, own_ip(interface), usable_cpus(), environment, log)
        try:
            while (address := ray.address()) is None:
                if ray.ended() is not None or time.monotonic() - start > 120:
                    raise RunError("ray start", log.read_text().strip()[-500:], "mend what it says")
                time.sleep(0.1)
            found = f"a node in {folder.parent} came up at {address} in {time.monotonic() - start:.1f} s"
            if complaint := _refusal(address, environment):
                raise RunError("ray health-check", complaint, "mend what it says")
            if not _refusal(address, environment | {"RAY_AUTH_MODE": "disabled"}):
                return Finding(
                    "Ray of a job", f"{found}, and asks nobody for its token", "install Ray as constraints.txt has it"
                )
            return f"{found}, and lets in by its token only"
        finally:
            ray.stop()
            end_descendants()


def _refusal(address: str, environment: dict[str, str]) -> str:
    """What a Ray cluster says to somebody with this environment whom it doesn't let in; empty if it does."""
    command = [installed("ray"), "health-check", "--address", address]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "no answer within a minute"
    return done.stderr.strip()[-500:] if done.returncode else ""
