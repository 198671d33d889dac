"""One Ray node, started and watched from outside by a process that never imports Ray.

`ray start --block` owns the daemons; this process owns `ray start`. Two clusters on one machine can't meet:
each node has a folder of its own, the head takes whatever port is free, all addresses are explicit, and
without the job's token nobody gets in. A node that is alone listens on the loopback interface only. `ray stop` is
never used: it stops every Ray of the user on the machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rayspin.errors import InputError
from rayspin.execution.kernel_cache import kernel_cache
from rayspin.execution.processes import Child

LOOPBACK = "127.0.0.1"
"""The address of a node that no other machine reaches. Ray listens on all interfaces for any other."""

STORE_BYTES = 128 * 2**20
"""Arrays never travel through the object store, so it stays near Ray's minimum of 75 MiB."""

LONGEST_FOLDER = 44
"""Bytes that the path of Ray's folder may have: the paths of its Unix sockets below it end at 107 bytes."""

_PREFIX = "rs-"
_ROOM = LONGEST_FOLDER - len(f"/{_PREFIX}12345678/r")
_USUAL_BASES = ("/tmp", "/var/tmp")  # noqa: S108  the folder made in them is private

_NOT_INHERITED = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_TMPDIR")
"""What the user's environment may say of another Ray."""
_SIOCGIFADDR = 0x8915


class RayNode:
    """A head or a worker node of a Ray cluster.

    Args:
        folder: of this node alone, on its own disk; `node_folder` makes it.
        ip: the address that other nodes reach this one at.
        cpus: what Ray may give to tasks here; Ray itself would count the machine's, whatever Slurm allowed.
        environment: of the daemons and, through them, of all workers here.
        log: the file that takes what `ray start` says.
        join: "host:port" of the head to join; None to be the head.
    """

    def __init__(
        self,
        folder: Path,
        ip: str,
        cpus: int,
        environment: dict[str, str],
        log: Path,
        join: str | None = None,
    ) -> None:
        self.log = log
        self._temporary = folder / "r"
        role = ["--head", "--port=0", "--include-dashboard=false"] if join is None else [f"--address={join}"]
        options = [
            f"--node-ip-address={ip}",
            f"--num-cpus={cpus}",
            f"--object-store-memory={STORE_BYTES}",
            f"--temp-dir={self._temporary}",
            "--include-log-monitor=false",
            "--no-monitor",
            "--disable-usage-stats",
            "--block",
        ]
        self._child = Child([installed("ray"), "start", *role, *options], environment, log)

    def address(self) -> str | None:
        """The head's "host:port", once this node is part of the cluster; None before."""
        # Ray writes this file when a node, head or worker, has come up.
        with suppress(FileNotFoundError):
            host, colon, port = (self._temporary / "ray_current_cluster").read_text().strip().rpartition(":")
            if colon and port.isdigit():
                return f"{host}:{port}"
        return None

    def ended(self) -> int | None:
        """The exit code of `ray start`; None while the node lives."""
        return self._child.ended()

    def stop(self) -> None:
        """Stop the daemons and their workers."""
        self._child.stop(seconds=10.0)

    def keep_logs(self, folder: Path) -> None:
        """Copy Ray's own logs of this node, which go with its folder, to where they can be read later."""
        with suppress(OSError):
            shutil.copytree(self._temporary / "session_latest" / "logs", folder, dirs_exist_ok=True)


def ray_environment(folder: Path, secret: str, interface: str | None, alone: bool = False) -> dict[str, str]:
    """The environment of everything Ray on a node, and of the driver.

    Args:
        folder: the node's own; the token lies in it.
        secret: the job's token: without one, whoever reaches the node could run code as its user.
        interface: the network interface for collective communication, if not the default.
        alone: whether the node is the only one, at `LOOPBACK`.
    """
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secret, encoding="ascii")
    inherited = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
    if alone:
        interface = "lo"
        # Ray would else replace the loopback address by one that other machines reach.
        inherited["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    chosen = {} if interface is None else {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
    return {
        **inherited,
        **chosen,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_START_HOOK": f"{__name__}.without_client",
        "RAY_USAGE_STATS_ENABLED": "0",
        # SIGTERM would else be followed by up to 30 s of draining; a drain is the driver's business.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # A node whose head has vanished lingers for so long; 60 s by default.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
        # Whatever anybody puts on the node's disk goes with the job.
        "TMPDIR": str(folder),
        # Kept for the next job.
        "NUMBA_CACHE_DIR": str(kernel_cache(folder.parent) or folder / "numba"),
        "PYTHONUNBUFFERED": "1",
        # Neither the working folder nor that of a script may have files that shadow modules.
        "PYTHONSAFEPATH": "1",
    }


def without_client(parameters: Any, head: bool) -> None:  # noqa: ARG001  Ray prescribes the arguments
    """Leave out the server of Ray Client, which nobody uses, with its fixed port; called by `ray start`."""
    parameters.ray_client_server_port = None


@contextmanager
def node_folder(scratch: Path | None) -> Iterator[Path]:
    """A folder for one node of one job, on the node's own disk and for its user only; gone after the block.

    What killed jobs left is swept first: each folder holds a lock for as long as its job lives.

    Args:
        scratch: where to make it; by default $TMPDIR if its path is short enough, else /tmp or /var/tmp.

    Raises:
        InputError: that place won't do.
    """
    base = _base(scratch)
    _sweep(base)
    # Ray opens its folder to everybody; the one above, which mkdtemp makes with mode 0700, keeps them out.
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    lock = (folder / "lock.new").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "lock.new").rename(folder / "lock")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def own_ip(interface: str | None = None) -> str:
    """The address at which other nodes reach this one.

    Args:
        interface: the network interface to take; by default that of the host's name, or of the default route.

    Raises:
        InputError: there is no such interface, or it has no IPv4 address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        if interface is not None:
            try:
                request = struct.pack("256s", interface.encode()[:15])
                return socket.inet_ntoa(fcntl.ioctl(probe, _SIOCGIFADDR, request)[20:24])
            except OSError as error:
                known = ", ".join(name for _, name in socket.if_nameindex())
                raise InputError(f"interface {interface}", str(error.strerror), f"take one of: {known}") from None
        with suppress(OSError):
            ip = socket.gethostbyname(socket.gethostname())
            if not ip.startswith("127."):
                return ip
        # Nothing is sent: connecting a datagram socket only looks up the route (to a documentation address).
        with suppress(OSError):
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
    return "127.0.0.1"


def installed(name: str) -> str:
    """The program that was installed beside this Python."""
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else str(Path(sys.executable).with_name(name))


def _base(scratch: Path | None) -> Path:
    if scratch is not None:
        if problem := _unfit(scratch):
            raise InputError(f"scratch {scratch}", problem, "name another folder on the node's own disk, or none")
        return scratch
    usual = [os.environ.get("TMPDIR", _USUAL_BASES[0]), *_USUAL_BASES]
    fit = next((base for base in usual if not _unfit(Path(base))), None)
    if fit is None:
        problems = ", ".join(f"{base} {_unfit(Path(base))}" for base in dict.fromkeys(usual))
        raise InputError("folder for Ray", problems, "set TMPDIR to a short path on this machine's own disk")
    return Path(fit)


def _unfit(base: Path) -> str:
    """Why a node's folder can't be made there; empty if it can."""
    if not base.is_dir() or not os.access(base, os.W_OK | os.X_OK):
        return "is no folder that can be written"
    if len(os.fsencode(base)) > _ROOM:
        return f"is longer than {_ROOM} characters"
    try:
        str(base).encode()
    except UnicodeEncodeError:
        return "is no UTF-8"
    return ""


def _sweep(base: Path) -> None:
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid() and _unlocked(folder / "lock"):
                shutil.rmtree(folder, ignore_errors=True)


def _unlocked(path: Path) -> bool:
    with path.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
