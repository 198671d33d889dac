"""The Ray node of a single command: it ends with the command, and the command notices if it dies.

The node is set up like those of submitted jobs, with a private folder, its own token, and `ray start` in its own
session. It listens on the loopback address. A separate process, the keeper (`python -m rayspin.execution.embedded`),
starts the node, reports over a pipe when the node is up and when one of its daemons dies, and stops the node when the
command ends for any reason. Signals sent to the command's process group reach neither the keeper nor the node.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

import psutil

from rayspin import signals
from rayspin.errors import InputError, RayspinError, RunError
from rayspin.execution.processes import adopt_orphans, end_descendants
from rayspin.execution.ray_node import LOOPBACK, RayNode, node_folder, ray_environment
from rayspin.execution.stopping import Interruption
from rayspin.output import complain

WHERE = "Ray on this machine"

_DAEMONS = {
    "gcs_server": "gcs_server",
    "raylet": "raylet",
    # The kernel truncates process names to 15 characters. The raylet ends if one of these two agents ends.
    "ray::RuntimeEnv": "RuntimeEnvAgent",
    "ray::DashboardA": "DashboardAgent",
}
"""Processes that Ray needs: the first 15 characters of their names, and their names in messages."""

_REMEDIES = {
    errno.ENOSPC: "free space there, or set TMPDIR to another folder",
    errno.EDQUOT: "free space there, or set TMPDIR to another folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close open files: the machine's limit is reached",
    errno.EAGAIN: "raise the limit of processes (ulimit -u)",
    errno.ENOMEM: "free memory",
}
"""Remedies for system errors during the start, by error number."""

_LOSS = signal.SIGRTMIN + 1
"""Signal that interrupts the main thread when Ray has died. Ray Tune has a handler of its own for SIGUSR1."""

_GRACE_S = 20.0
"""Seconds for a command to return from Ray after Ray has died: calls into a Ray without GCS block for a minute."""

_POLL_S = 0.25
"""Seconds between two checks of a command after its Ray node has died."""

_START_S = 180.0
"""Seconds in which Ray must start. Ray itself limits its processes to 30 seconds each, except for the raylet."""


class EmbeddedRay:
    """The command's handle of its Ray node: starts the keeper, which starts the node.

    Args:
        cpus: number of CPUs of the node.
        start_s: time limit of the start in seconds; this process exits when it is exceeded.

    Attributes:
        lost: error that describes the loss of Ray; None while Ray is running.
    """

    def __init__(self, cpus: int, start_s: float = _START_S) -> None:
        self.lost: RayspinError | None = None
        self._closing = threading.Event()
        self._watch: threading.Thread | None = None
        command = [sys.executable, "-P", "-m", "rayspin.execution.embedded", str(cpus)]
        pipe = subprocess.PIPE
        self._keeper = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper_output: IO[bytes] = self._keeper.stdout
        self._keeper_input: IO[bytes] = self._keeper.stdin
        self._start_timer = threading.Timer(start_s, _exit, (_start_timeout(start_s),))
        self._start_timer.daemon = True
        signals.start(self._start_timer)

    def wait(self) -> tuple[str, dict[str, str]]:
        """Wait until the node is up.

        Returns:
            The node's "host:port", and the environment variables that a driver needs.

        Raises:
            RayspinError: the node does not start.
        """
        report = self._read_report()
        if isinstance(report, RayspinError):
            raise report
        return report["address"], report["environment"]

    def watch(self) -> None:
        """Interrupt the main thread with the loss of Ray as soon as it calls Ray; call this from the main thread."""
        signal.signal(_LOSS, self._raise_loss)
        self._watch = threading.Thread(target=self._watch_keeper, daemon=True)
        signals.start(self._watch)

    def connected(self) -> None:
        """Cancel the time limit of the start; call this when the driver is connected."""
        self._start_timer.cancel()

    def close(self) -> None:
        """Stop the node and the keeper, and wait for the keeper; nothing is raised if either has died before."""
        self._closing.set()
        self._start_timer.cancel()
        with suppress(OSError):
            self._keeper_input.close()
        self._keeper.wait()
        if self._watch is not None:
            self._watch.join()
        self._keeper_output.close()

    def _read_report(self) -> Any:
        """Read the next report of the keeper; return an error object if it reports a failure or has ended."""
        line = self._keeper_output.readline()
        if not line.endswith(b"\n"):
            code = self._keeper.wait()
            ending = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            problem = f"its keeper process ended ({ending}, rayspin.execution.embedded)"
            return RunError(WHERE, problem, "completed work is saved; run the same command again to resume")
        report = json.loads(line)
        if "error" not in report:
            return report
        return (InputError if report["code"] == InputError.exit_code else RunError)(*report["error"])

    def _watch_keeper(self) -> None:
        loss = self._read_report()
        if self._closing.is_set():
            return
        self.lost = loss
        # Work that does not call Ray may finish.
        calls_since = time.monotonic()
        while not self._closing.wait(_POLL_S):
            main = threading.main_thread().ident or 0
            if not _in_ray(sys._current_frames().get(main)):
                calls_since = time.monotonic()
                continue
            signal.pthread_kill(main, _LOSS)
            if time.monotonic() - calls_since > _GRACE_S:
                _exit(loss)

    def _raise_loss(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.lost is not None and _in_ray(frame):
            raise Interruption(self.lost)


def _in_ray(frame: FrameType | None) -> bool:
    """Whether this frame is inside a call of Ray."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "ray":
            return True
        frame = frame.f_back
    return False


def _start_timeout(start_s: float) -> RunError:
    return RunError(WHERE, f"did not start within {start_s:.0f} s", "run the same command again")


def _exit(error: RayspinError) -> NoReturn:
    """Exit at once; the keeper then stops Ray."""
    complain(error)
    os._exit(error.exit_code)


def _run_keeper(cpus: int) -> None:
    """Run the keeper: keep the node until the command, at the other end of this process's standard input, ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    try:
        with node_folder(None) as folder:
            try:
                _run_node(folder, cpus)
            finally:
                # Kill at once: the node holds nothing that a regular shutdown would save, and parts of it may be dead.
                end_descendants()
    except RayspinError as error:
        _report(error=error.args, code=error.exit_code)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "run `rayspin doctor`, which tests each step of the start")
        _report(error=(WHERE, f"did not start ({error})", remedy), code=RunError.exit_code)


def _run_node(folder: Path, cpus: int) -> None:
    environment = ray_environment(folder, secrets.token_hex(32), None, alone=True)
    node = RayNode(folder, LOOPBACK, cpus, environment, folder / "ray.log")
    while (address := node.address()) is None:
        if node.ended() is not None:
            raise _not_started(node)
        if _command_ended(0.05):
            return
    daemons = {os.pidfd_open(pid): name for pid, name in _daemons().items()}
    needed = {name: environment[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
    _report(address=address, environment=needed)
    poll = select.poll()
    for descriptor in (sys.stdin.fileno(), *daemons):
        poll.register(descriptor, select.POLLIN)
    died = [daemons[descriptor] for descriptor, _ in poll.poll() if descriptor in daemons]
    if died and not _command_ended(0):
        remedy = (
            "completed work is saved; run the same command again to resume, and check the free memory if this recurs"
        )
        # The death of one daemon ends others, and the first one can't be identified afterwards.
        _report(error=(WHERE, f"its {' and '.join(died)} died", remedy), code=RunError.exit_code)
        # A GCS that is alive answers the call that the command is in. Without it, calls end sooner if nothing of Ray is
        # left.
        if "gcs_server" in died or not _command_ended(_GRACE_S / 2):
            end_descendants()
            _command_ended(None)


def _daemons() -> dict[int, str]:
    """The processes of this node that Ray needs: names in messages, by process ID."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if name := _DAEMONS.get(process.name()[:15]):
                found[process.pid] = name
    return found


def _not_started(node: RayNode) -> RunError:
    """Save the logs of a node that did not start to a new temporary folder, and return the error."""
    lines = [line.strip() for line in node.log.read_text(errors="replace").splitlines() if line.strip()]
    log_folder = Path(tempfile.mkdtemp(prefix="rayspin-ray-"))
    with suppress(OSError):
        shutil.copy(node.log, log_folder)
    node.keep_logs(log_folder)
    return RunError(WHERE, f"did not start ({lines[-1] if lines else 'no output'})", f"see its logs in {log_folder}")


def _command_ended(seconds: float | None) -> bool:
    """Wait at most `seconds` seconds (None: without limit) for the command to end, and return whether it has ended."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _report(**report: Any) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{json.dumps(report)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _run_keeper(int(sys.argv[1]))
