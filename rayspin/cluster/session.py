"""One Ray session for a whole command: embedded on this machine, or the cluster that an address names."""

from __future__ import annotations

import functools
import logging
import math
import os
import signal
import socket
from collections.abc import Callable, Mapping
from types import ModuleType

from rayspin.cluster.embedded import EmbeddedRay
from rayspin.cluster.stopping import StopRequest
from rayspin.errors import InputError, RayspinError, RunError

EMBEDDED = "local"
_ANSWER_S = 10.0

_TRAIN_LOOK = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1.0"}
"""Ray Train learns of the end of its workers by looking: by default every 2 s; every 0.1 s costs 4 % of a core."""

STORE_BYTES = 128 * 2**20
"""Arrays never travel through the object store, so it stays near Ray's minimum of 75 MiB."""


CPUS = "RAYSPIN_CPUS"
"""The environment variable that sets a lower limit than the affinity: on shared nodes Slurm need not bind its tasks."""


def usable_cpus() -> int:
    """How many CPUs this process may use: Ray counts those of the machine, whatever Slurm or taskset allowed.

    Raises:
        InputError: `CPUS` is set to what is no number.
    """
    affinity = len(os.sched_getaffinity(0))
    limit = os.environ.get(CPUS, str(affinity))
    if not limit.isdecimal() or int(limit) == 0:
        raise InputError(CPUS, f"{limit!r} in the environment is no number of CPUs", "give 1 or more, or unset it")
    return min(affinity, int(limit))


def places_on(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many workers of so many CPUs and GPUs fit on a node with these resources at a time."""
    by_cpus = math.floor(node.get("CPU", 0) / cpus)
    return min(by_cpus, math.floor(node.get("GPU", 0) / gpus + 1e-9)) if gpus else by_cpus


class Session:
    """The Ray session of a command; it starts when the first stage asks for it and ends with `close`.

    Args:
        address: "host:port" of a running cluster, or `EMBEDDED`. Never empty: Ray alone might join a neighbour's.
        cpus: CPUs of an embedded session; by default those this process may use.
        stop: what the start of the session heeds.
    """

    def __init__(self, address: str = EMBEDDED, cpus: int | None = None, stop: StopRequest | None = None) -> None:
        self.address = address
        self._stop = stop or StopRequest()
        self._cpus = cpus or usable_cpus()
        self._started = False
        self._embedded: EmbeddedRay | None = None

    def ray(self) -> ModuleType:
        """The `ray` module, connected.

        Raises:
            RunError: no cluster answers at the address.
            Incomplete: a stop was asked for meanwhile.
        """
        _quiet_environment()
        # What is raised in the middle of its import or start, Ray may take for a failure, or swallow.
        with self._stop.draining():
            import ray

            starting = not ray.is_initialized()
            if starting:
                self._start(ray)
        if starting:
            self._stop.heed()
        return ray

    def _start(self, ray: ModuleType) -> None:
        # Ray takes SIGTERM for itself; a run that is asked to stop must hear it.
        on_terminate = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
        self._started = True
        try:
            self._connect(ray.init)
        except RayspinError:
            self.close()
            raise
        except Exception as error:
            # Ray gives its own processes 30 seconds, and says so with a bare Exception.
            self.close()
            raise RunError(f"Ray at {self.address}", str(error).splitlines()[0], self._remedy()) from None
        signal.signal(signal.SIGTERM, on_terminate)
        _quieten()

    def check(self) -> None:
        """Refuse an address at which nothing listens: Ray would try for minutes.

        Raises:
            InputError: the address is no HOST:PORT, or nothing answers there.
        """
        if self.address == EMBEDDED:
            return
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        except (OSError, ValueError) as error:
            raise InputError(
                f"Ray at {self.address}", f"nothing answers ({error})", "give HOST:PORT, or none"
            ) from None

    def cpus(self) -> int:
        """CPUs of the whole session."""
        return int(self.ray().cluster_resources().get("CPU", 1))

    def gpus(self) -> int:
        """GPUs of the whole session."""
        return int(self.ray().cluster_resources().get("GPU", 0))

    def nodes(self) -> list[Mapping[str, float]]:
        """The resources of each node that is alive, as Ray names them."""
        return [node["Resources"] for node in self.ray().nodes() if node["Alive"]]

    @property
    def lost(self) -> bool:
        """Whether the embedded Ray has died: calls into it would block."""
        return self._embedded is not None and self._embedded.lost is not None

    def close(self) -> None:
        """End the session, if this object started it."""
        if not self._started:
            return
        import ray

        self._started = False
        if self._embedded is None:
            ray.shutdown()
        else:
            self._embedded.close(ray.shutdown)
            self._embedded = None

    def _remedy(self) -> str:
        """What to do when Ray does not start, or does not let us in."""
        if self.address == EMBEDDED:
            return "try again when the machine is less busy"
        if "RAY_AUTH_MODE" in os.environ:
            return "check the address, or leave it out"
        # `ray start` asks for a token where the user has one, and `ray.init` does not offer it to an address by itself.
        return "check the address; if that Ray asks for a token (~/.ray/auth_token), set RAY_AUTH_MODE=token"

    def _connect(self, init: Callable[..., object]) -> None:
        connect = functools.partial(
            init,
            self.address,
            runtime_env={"env_vars": _worker_environment()},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        if self.address != EMBEDDED:
            connect()
            return
        self._embedded = EmbeddedRay()
        self._embedded.start(
            functools.partial(connect, num_cpus=self._cpus, object_store_memory=STORE_BYTES, include_dashboard=False)
        )


def _quieten() -> None:
    """Leave the last words of workers and daemons, pages of them, to Ray's logs; it has no setting for that."""
    import ray._private.worker as internals

    internals.__dict__["print_to_stdstream"] = lambda *_, **__: None


def _worker_environment() -> dict[str, str]:
    """Environment of every actor and worker, the same on all nodes."""
    return {
        # Ray sets OMP_NUM_THREADS alone; one sample per core is the rule.
        "NUMBA_NUM_THREADS": "1",
        # Ray Train trains in a thread, and only the first of glibc's heaps is large enough to keep what a step frees.
        "MALLOC_ARENA_MAX": "1",
        **_TRAIN_LOOK,
        "RAY_TRAIN_V2_ENABLED": "1",
    }


def _quiet_environment() -> None:
    """Settings that Ray reads when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    for name, value in _TRAIN_LOOK.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # A process that looks for nodes that Ray's autoscaler takes away; batch systems tell the launcher.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    # The older output of Ray Tune is silent when it is asked to be.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
