"""A Ray node, started and monitored by a process that never imports Ray.

`ray start --block` is the parent of the daemons, and this process is the parent of `ray start`. Two clusters on one
machine can't interfere: each node has a folder of its own, the head uses any free port, all addresses are explicit, and
connections need the token of the job. A single node listens on the loopback interface only. `ray stop` is never used,
because it stops all Ray nodes of the user on the machine.
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
"""Address of a node that other machines can't reach. For any other address Ray listens on all interfaces."""

STORE_BYTES = 128 * 2**20
"""Size of Ray's object store. No arrays are passed through it, so it is close to Ray's minimum of 75 MiB."""

LONGEST_FOLDER = 44
"""Maximum length in bytes of the path of Ray's folder: paths of the Unix sockets below it are limited to 107 bytes."""

_PREFIX = "rs-"
_ROOM = LONGEST_FOLDER - len(f"/{_PREFIX}12345678/r")
_USUAL_BASES = ("/tmp", "/var/tmp")  # noqa: S108  the folder created in them is private

_NOT_INHERITED = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_TMPDIR")
"""Environment variables that may refer to another Ray cluster of the user."""
_SIOCGIFADDR = 0x8915


class RayNode:
    """A head or worker node of a Ray cluster.

    Args:
        folder: folder of this node on its local disk, as created by `node_folder`.
        ip: address at which other nodes reach this node.
        cpus: number of CPUs that Ray may use on this node. Ray would otherwise count all CPUs of the machine, even if
            Slurm allocated fewer.
        environment: environment of the daemons and of all workers on this node.
        log: file to which the output of `ray start` is appended.
        join: "host:port" of the head to join; None to start a head.

    Attributes:
        log: the log file.
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
        """The head's "host:port" once this node is part of the cluster; None before."""
        # Ray writes this file when a head or worker node is up.
        with suppress(FileNotFoundError):
            host, colon, port = (self._temporary / "ray_current_cluster").read_text().strip().rpartition(":")
            if colon and port.isdigit():
                return f"{host}:{port}"
        return None

    def ended(self) -> int | None:
        """The exit code of `ray start`; None while the node is running."""
        return self._child.ended()

    def stop(self) -> None:
        """Stop the daemons and workers of this node."""
        self._child.stop(seconds=10.0)

    def keep_logs(self, folder: Path) -> None:
        """Copy Ray's logs of this node to `folder`, since the node's own folder is deleted when the node ends."""
        with suppress(OSError):
            shutil.copytree(self._temporary / "session_latest" / "logs", folder, dirs_exist_ok=True)


def ray_environment(folder: Path, secret: str, interface: str | None, alone: bool = False) -> dict[str, str]:
    """Write the token file of a node, and return the environment of its Ray processes and of the driver.

    Args:
        folder: folder of the node, which holds the token file.
        secret: token of the job. Without a token, anyone who can connect to the node could run code as its user.
        interface: network interface for collective communication; None for the default.
        alone: whether this is the only node of its cluster, at the address `LOOPBACK`.
    """
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secret, encoding="ascii")
    inherited = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
    if alone:
        interface = "lo"
        # By default Ray replaces the loopback address by one that other machines can reach.
        inherited["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    chosen = {} if interface is None else {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
    return {
        **inherited,
        **chosen,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_START_HOOK": f"{__name__}.without_client",
        "RAY_USAGE_STATS_ENABLED": "0",
        # By default Ray drains for up to 30 s after SIGTERM, but draining is done by the driver.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # Seconds after which a node ends when its head has disappeared; the default is 60.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
        # Temporary files are deleted with the node's folder when the job ends.
        "TMPDIR": str(folder),
        # Compiled kernels are kept for the next job.
        "NUMBA_CACHE_DIR": str(kernel_cache(folder.parent) or folder / "numba"),
        "PYTHONUNBUFFERED": "1",
        # Do not import from the working folder or a script's folder, where files of the user may shadow modules.
        "PYTHONSAFEPATH": "1",
    }


def without_client(parameters: Any, head: bool) -> None:  # noqa: ARG001  Ray prescribes the arguments
    """Disable the Ray Client server, which is not used and would occupy a fixed port; `ray start` calls this hook."""
    parameters.ray_client_server_port = None


@contextmanager
def node_folder(scratch: Path | None) -> Iterator[Path]:
    """Context with a private folder for one node of one job on the local disk, which is deleted afterwards.

    Folders left by killed jobs are deleted first. Folders of running jobs are recognized by the lock that they hold.

    Args:
        scratch: parent folder; by default $TMPDIR if its path is short enough, else /tmp or /var/tmp.

    Raises:
        InputError: the parent folder is not usable.
    """
    base = _base(scratch)
    _sweep(base)
    # Ray makes its folder accessible to all users; this parent folder, created by mkdtemp with mode 0700, protects it.
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
    """The address at which other nodes reach this node.

    Args:
        interface: network interface; by default the one that the host name resolves to, or that of the default route.

    Raises:
        InputError: the interface does not exist or has no IPv4 address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        if interface is not None:
            try:
                request = struct.pack("256s", interface.encode()[:15])
                return socket.inet_ntoa(fcntl.ioctl(probe, _SIOCGIFADDR, request)[20:24])
            except OSError as error:
                known = ", ".join(name for _, name in socket.if_nameindex())
                raise InputError(f"interface {interface}", str(error.strerror), f"use one of: {known}") from None
        with suppress(OSError):
            ip = socket.gethostbyname(socket.gethostname())
            if not ip.startswith("127."):
                return ip
        # Connecting a datagram socket to this documentation address sends nothing; it only looks up the route.
        with suppress(OSError):
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
    return "127.0.0.1"


def installed(name: str) -> str:
    """Path of a program that is installed in the environment of this Python."""
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else str(Path(sys.executable).with_name(name))


def _base(scratch: Path | None) -> Path:
    if scratch is not None:
        if problem := _unfit(scratch):
            raise InputError(f"scratch {scratch}", problem, "set another folder on the node's local disk, or unset it")
        return scratch
    usual = [os.environ.get("TMPDIR", _USUAL_BASES[0]), *_USUAL_BASES]
    fit = next((base for base in usual if not _unfit(Path(base))), None)
    if fit is None:
        problems = ", ".join(f"{base} {_unfit(Path(base))}" for base in dict.fromkeys(usual))
        raise InputError("folder for Ray", problems, "set TMPDIR to a short path on this machine's local disk")
    return Path(fit)


def _unfit(base: Path) -> str:
    """The reason why a node's folder can't be created in `base`; empty if it can."""
    if not base.is_dir() or not os.access(base, os.W_OK | os.X_OK):
        return "is not a writable folder"
    if len(os.fsencode(base)) > _ROOM:
        return f"is longer than {_ROOM} characters"
    try:
        str(base).encode()
    except UnicodeEncodeError:
        return "is not valid UTF-8"
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
