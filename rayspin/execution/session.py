"""The Ray session of a command: embedded on this machine, or connected to a running cluster."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, suppress
from types import ModuleType
from urllib.parse import urlsplit

from rayspin import signals
from rayspin.errors import InputError, RayspinError, RunError
from rayspin.execution.embedded import EmbeddedRay
from rayspin.execution.ray_internals import authenticated, loopback_addresses, silence_disconnection, skip_exit_calls
from rayspin.execution.stopping import StopRequest, interruptible

EMBEDDED = "local"
_ANSWER_S = 10.0

_TRAIN_LOOK = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1.0"}
"""Interval at which Ray Train polls its workers, s. Its default of 2 s is slow; 0.1 s takes 4 % of a core."""

_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""First bytes of a gRPC client: the preface and an empty SETTINGS frame, which a server answers with its own."""
_FRAME_HEAD, _FRAME_TYPE, _SETTINGS = 9, 3, 4

CPUS = "RAYSPIN_CPUS"
"""Environment variable that limits the CPUs: on shared nodes the affinity may be larger than the allocation."""


def usable_cpus() -> int:
    """Return how many CPUs this process may use; Ray by itself would count all CPUs of the machine.

    Raises:
        InputError: `CPUS` is not set to a number.
    """
    affinity = len(os.sched_getaffinity(0))
    limit = os.environ.get(CPUS, str(affinity))
    if not limit.isdecimal() or int(limit) == 0:
        raise InputError(CPUS, f"{limit!r} in the environment is not a number of CPUs", "give 1 or more, or unset it")
    return min(affinity, int(limit))


def places_on(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Return how many workers fit on a node at the same time.

    Args:
        node: resources of the node, as Ray names them.
        cpus: CPUs of each worker.
        gpus: GPUs of each worker.
    """
    by_cpus = math.floor(node.get("CPU", 0) / cpus)
    return min(by_cpus, math.floor(node.get("GPU", 0) / gpus + 1e-9)) if gpus else by_cpus


class Session:
    """The Ray session of a command; it starts on first use and ends with `close`.

    Args:
        address: "host:port" of a running cluster, or `EMBEDDED`. Never empty: Ray alone might join a neighbor's.
        cpus: CPUs of an embedded session; by default those this process may use.
        stop: what the start of the session heeds.
    """

    def __init__(self, address: str = EMBEDDED, cpus: int | None = None, stop: StopRequest | None = None) -> None:
        self.address = address
        self._stop = stop or StopRequest()
        self._cpus = cpus or usable_cpus()
        self._started = False
        self._embedded: EmbeddedRay | None = None
        self._undo = ExitStack()

    def ray(self) -> ModuleType:
        """Return the `ray` module, connected to the session.

        Raises:
            RunError: no cluster answers at the address, or the embedded Ray does not start or has died.
            Incomplete: a stop was asked for meanwhile.
        """
        if self._embedded is not None and self._embedded.lost is not None:
            raise self._embedded.lost
        _quiet_environment()
        # Ray may swallow an exception that a signal handler raises during its import or start.
        with self._stop.draining():
            starting = "ray" not in sys.modules or not sys.modules["ray"].is_initialized()
            if starting:
                self._start()
        if starting:
            self._stop.heed()
        return sys.modules["ray"]

    def _start(self) -> None:
        self._started = True
        _started.add(self)
        try:
            if self.address == EMBEDDED:
                self._start_embedded()
            else:
                self._connect(self.address)
        except BaseException:
            self.close()
            raise
        silence_disconnection()

    def _start_embedded(self) -> None:
        self._embedded = EmbeddedRay(self._cpus)
        # The import takes a second, in which the node starts.
        import ray  # noqa: F401

        address, environment = self._embedded.wait()
        self._undo.enter_context(authenticated(environment))
        self._embedded.watch()
        with loopback_addresses():
            self._connect(address)
        self._embedded.connected()

    def _connect(self, address: str) -> None:
        import ray

        try:
            # Ray adds the working folder to the path of workers, where a user's files may shadow modules.
            with interruptible(), chdir("/"), _own_sigterm():
                ray.init(
                    address,
                    runtime_env={"env_vars": _worker_environment()},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except RayspinError:
            raise
        except Exception as error:
            # Ray raises a plain Exception if its processes do not start within 30 seconds.
            problem = next(iter(str(error).splitlines()), type(error).__name__)
            raise RunError(f"Ray at {self.address}", problem, self._remedy()) from None

    def check(self, source: str = "--address") -> None:
        """Raise an error if no Ray answers at the address; Ray itself would try for minutes.

        Args:
            source: where the address comes from, for the error.

        Raises:
            InputError: the address is not of the form HOST:PORT, or no server or another one than Ray answers there.
        """
        if self.address == EMBEDDED:
            return
        where = f"{source} {self.address}"
        leave_out = "leave it out" if source == "--address" else "unset it"
        remedy = f"give HOST:PORT of a running Ray, or {leave_out} for a Ray of this command alone"
        host_and_port = _host_and_port(self.address)
        if host_and_port is None:
            raise InputError(where, "is not of the form HOST:PORT", remedy)
        try:
            with socket.create_connection(host_and_port, timeout=_ANSWER_S) as connection:
                speaks = "RAY_USE_TLS" in os.environ or _speaks_grpc(connection)
        except OSError as error:
            raise InputError(where, f"nothing answers ({error})", remedy) from None
        if not speaks:
            raise InputError(where, "a server answers there that is not Ray", remedy)

    def cpus(self) -> int:
        """CPUs of the whole session."""
        return int(self.ray().cluster_resources().get("CPU", 1))

    def gpus(self) -> int:
        """GPUs of the whole session."""
        return int(self.ray().cluster_resources().get("GPU", 0))

    def nodes(self) -> list[Mapping[str, float]]:
        """Resources of each living node, as Ray names them."""
        return [node["Resources"] for node in self.ray().nodes() if node["Alive"]]

    @property
    def lost(self) -> bool:
        """Whether the embedded Ray has died: calls into it would block."""
        return self._embedded is not None and self._embedded.lost is not None

    def close(self) -> None:
        """End the session if this object started it.

        The work is done or has failed by now, and the end of Ray changes neither: nothing is raised.
        """
        if not self._started:
            return
        import ray

        self._started = False
        _started.discard(self)
        if self.lost:
            skip_exit_calls()
        else:
            with _own_sigterm(), suppress(Exception):
                ray.shutdown()
        if self._embedded is not None:
            self._embedded.close()
            self._embedded = None
        self._undo.close()

    def _remedy(self) -> str:
        """The remedy for a connection that Ray refuses."""
        if self.address == EMBEDDED:
            return "`rayspin doctor` tries each step of the start"
        if "RAY_AUTH_MODE" in os.environ:
            return "check the address, or leave it out"
        # `ray start` requires a token if the user has one, but `ray.init` sends it only with RAY_AUTH_MODE=token.
        return "check the address; if that Ray asks for a token (~/.ray/auth_token), set RAY_AUTH_MODE=token"


_started: set[Session] = set()
"""Open sessions. Ray belongs to the process and outlives a session that is not closed; so must its keeper and token."""


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """A context after which this process has its own handler of SIGTERM again.

    Ray replaces it when it connects, and resets it to the default action when it disconnects.
    """
    handler = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    with signals.held():
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, handler)


def _host_and_port(address: str) -> tuple[str, int] | None:
    """Split "host:port" or "[IPv6]:port"; None if the address has neither form."""
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host, port) if host and port and parts.netloc == address and parts.username is None else None


def _speaks_grpc(connection: socket.socket) -> bool:
    """Whether a gRPC server answers, such as Ray's."""
    answer = b""
    try:
        connection.sendall(_HTTP2_GREETING)
        while len(answer) < _FRAME_HEAD and (more := connection.recv(_FRAME_HEAD)):
            answer += more
    except OSError:
        return False
    return len(answer) >= _FRAME_HEAD and answer[_FRAME_TYPE] == _SETTINGS


def _worker_environment() -> dict[str, str]:
    """Environment variables of all actors and workers."""
    return {
        # Ray sets OMP_NUM_THREADS only. Each worker has one core.
        "NUMBA_NUM_THREADS": "1",
        # Ray Train trains in a thread. Only glibc's main arena keeps the memory that a step frees for the next one.
        "MALLOC_ARENA_MAX": "1",
        **_TRAIN_LOOK,
        "RAY_TRAIN_V2_ENABLED": "1",
    }


def _quiet_environment() -> None:
    """Set the variables that Ray reads when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    for name, value in _TRAIN_LOOK.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # This watcher reports nodes that Ray's autoscaler removes; with a batch system there are none.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    # Only the older output of Ray Tune can be silenced.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
