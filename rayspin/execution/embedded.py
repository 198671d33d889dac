"""The Ray of one command: none of its processes dies unnoticed, and none outlives the command.

It is a node as those of submitted jobs are: a private folder, a token of its own, `ray start` in a session of its own,
at the loopback address. A process beside the command, the keeper (`python -m rayspin.execution.embedded`), starts the
node, tells the command over a pipe when it is up and when one of its daemons dies, and ends it with the command,
however that ends. Signals to the command's process group reach neither the keeper nor the node.
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
from rayspin.output import complain

WHERE = "Ray on this machine"

_DAEMONS = {
    "gcs_server": "gcs_server",
    "raylet": "raylet",
    # The kernel keeps 15 letters of a name. The raylet ends with either of these two.
    "ray::RuntimeEnv": "RuntimeEnvAgent",
    "ray::DashboardA": "DashboardAgent",
}
"""Processes that Ray needs: the first 15 letters of their names, and how messages call them."""

_REMEDIES = {
    errno.ENOSPC: "free space there, or set TMPDIR to another folder",
    errno.EDQUOT: "free space there, or set TMPDIR to another folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close files: the machine has no more",
    errno.EAGAIN: "raise the limit of processes (ulimit -u)",
    errno.ENOMEM: "free memory",
}
"""What mends a start that the system refused."""

_GRACE_S = 20.0
"""What a command gets to end in order after it has lost its Ray: calls into a Ray without GCS block for a minute."""

_LOOK_S = 0.25
"""Seconds between two looks at a command that has lost its Ray."""

_START_S = 180.0
"""What Ray gets to start. It gives its own processes 30 seconds each, but its raylet all the time in the world."""


class EmbeddedRay:
    """The command's side: starts the keeper, which starts a node.

    Args:
        cpus: of the node.
        start_s: seconds that the start may take; then the process ends.

    Attributes:
        lost: what became of Ray; None as long as all is well.
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
        self._news: IO[bytes] = self._keeper.stdout
        self._life: IO[bytes] = self._keeper.stdin
        self._too_long = threading.Timer(start_s, _exit, (_late(start_s),))
        self._too_long.daemon = True
        signals.start(self._too_long)

    def wait(self) -> tuple[str, dict[str, str]]:
        """The node's "host:port" and what a driver needs in its environment, once the node is up.

        Raises:
            RayspinError: it does not start.
        """
        up = self._hear()
        if isinstance(up, RayspinError):
            raise up
        return up["address"], up["environment"]

    def watch(self) -> None:
        """From now on the loss of Ray is raised in the main thread wherever that calls Ray; call this from there."""
        signal.signal(signal.SIGUSR1, self._raise)
        self._watch = threading.Thread(target=self._look, daemon=True)
        signals.start(self._watch)

    def connected(self) -> None:
        """The start is over, and with it the limit on its time."""
        self._too_long.cancel()

    def close(self) -> None:
        """End the node, and see off all that belongs to it; nothing is raised, whatever became of Ray or the keeper."""
        self._closing.set()
        self._too_long.cancel()
        with suppress(OSError):
            self._life.close()
        self._keeper.wait()
        if self._watch is not None:
            self._watch.join()
        self._news.close()

    def _hear(self) -> Any:
        """The next news of the keeper; the error, if they are bad."""
        line = self._news.readline()
        if not line.endswith(b"\n"):
            code = self._keeper.wait()
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            problem = f"the process that keeps it ended ({how}, rayspin.execution.embedded)"
            return RunError(WHERE, problem, "what is done is kept, and the same command goes on")
        news = json.loads(line)
        if "error" not in news:
            return news
        return (InputError if news["code"] == InputError.exit_code else RunError)(*news["error"])

    def _look(self) -> None:
        bad = self._hear()
        if self._closing.is_set():
            return
        self.lost = bad
        # Work that needs no Ray may go on to its end.
        calls_since = time.monotonic()
        while not self._closing.wait(_LOOK_S):
            main = threading.main_thread().ident or 0
            if not _in_ray(sys._current_frames().get(main)):
                calls_since = time.monotonic()
                continue
            signal.pthread_kill(main, signal.SIGUSR1)
            if time.monotonic() - calls_since > _GRACE_S:
                _exit(bad)

    def _raise(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.lost is not None and _in_ray(frame):
            raise self.lost


def _in_ray(frame: FrameType | None) -> bool:
    """Whether a call into Ray is under way there."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "ray":
            return True
        frame = frame.f_back
    return False


def _late(start_s: float) -> RunError:
    return RunError(WHERE, f"no start within {start_s:.0f} s", "run the same command again")


def _exit(error: RayspinError) -> NoReturn:
    """End the command at once; the keeper ends Ray."""
    complain(error)
    os._exit(error.exit_code)


def _keep(cpus: int) -> None:
    """The keeper: a node as long as the command lives, which holds the other end of this process's standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    try:
        with node_folder(None) as folder:
            try:
                _run_node(folder, cpus)
            finally:
                # At once: nothing in it is worth an end in order, and it may be dead in part.
                end_descendants()
    except RayspinError as error:
        _tell(error=error.args, code=error.exit_code)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "`rayspin doctor` tries each step of the start")
        _tell(error=(WHERE, f"did not start ({error})", remedy), code=RunError.exit_code)


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
    _tell(address=address, environment=needed)
    poll = select.poll()
    for descriptor in (sys.stdin.fileno(), *daemons):
        poll.register(descriptor, select.POLLIN)
    died = [daemons[descriptor] for descriptor, _ in poll.poll() if descriptor in daemons]
    if died and not _command_ended(0):
        remedy = "what is done is kept, and the same command goes on; if it comes again, look at memory"
        # What is left of it would only complain at length.
        end_descendants()
        # The one takes others with it, and which was the first is not to be told.
        _tell(error=(WHERE, f"its {' and '.join(died)} died", remedy), code=RunError.exit_code)
        _command_ended(None)


def _daemons() -> dict[int, str]:
    """The processes of this node that Ray needs, by process number."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if name := _DAEMONS.get(process.name()[:15]):
                found[process.pid] = name
    return found


def _not_started(node: RayNode) -> RunError:
    """Why `ray start` ended, with all that it and its daemons have left to say kept for reading."""
    said = [line.strip() for line in node.log.read_text(errors="replace").splitlines() if line.strip()]
    kept = Path(tempfile.mkdtemp(prefix="rayspin-ray-"))
    with suppress(OSError):
        shutil.copy(node.log, kept)
    node.keep_logs(kept)
    return RunError(WHERE, f"did not start ({said[-1] if said else 'without a word'})", f"see its logs in {kept}")


def _command_ended(seconds: float | None) -> bool:
    """Whether the command ends, or has ended, within so many seconds."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _tell(**news: Any) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{json.dumps(news)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _keep(int(sys.argv[1]))
