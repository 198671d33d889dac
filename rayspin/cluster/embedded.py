"""The processes of a Ray that a command starts for itself: none dies unnoticed, and none outlives the command.

Ray alone manages neither. A driver whose raylet or GCS was killed waits for ever, or for a minute and then exits
without a word of its own; of a driver that was killed, agents live on for a minute and workers for seconds. So a thread
watches the two daemons, and a small process beside the command (`python -m rayspin.cluster.embedded`) is told who
belongs to this Ray and waits for the end of the command, however it ends. Ray's processes are known by descent, and
those too new for that by a mark in their environment (which they lose when they give themselves a name).
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from rayspin.errors import RunError
from rayspin.output import complain
from rayspin.process_table import NAME, START, STATE, command_line, descendants, stat

_MARK = "RAYSPIN_EMBEDDED_RAY"
_DAEMONS = ("gcs_server", "raylet")

_OF_NO_USE = ("/log_monitor.py", "/monitor.py", "/dashboard.py")
"""Ray can't be asked not to start them: one sends what workers print to drivers that want it (`log_to_driver`), one
would add nodes, one would report the use of Ray to its makers. They take a percent of a core, in 65 turns a second."""

_LOOK_S = 2.0
"""Seconds between two looks for new processes; the death of a daemon is heard at once."""

_GRACE_S = 20.0
"""What a command gets to end in order after it has lost its Ray: calls into a Ray without GCS block for a minute."""

_START_S = 180.0
"""What Ray gets to start. It gives its own processes 30 seconds each, but its raylet all the time in the world."""

_KILL_S = 10.0
"""How long it may take until what was killed is gone."""


class _Process(NamedTuple):
    """A process that can be told from a later one of the same number."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> _Process:
        return cls(pid, stat(pid)[START])

    def runs(self) -> bool:
        state = stat(self.pid)
        return state[START] == self.started and state[STATE] != "Z"


class EmbeddedRay:
    """Watches over the Ray that its `start` starts.

    Attributes:
        lost: the daemon that died; None as long as all is well.
    """

    def __init__(self) -> None:
        self.lost: str | None = None
        self._known: set[_Process] = set()
        self._closing = threading.Event()
        self._mark = secrets.token_hex(8)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._watch: threading.Thread | None = None
        # A session of its own: it must survive what a terminal or a batch system sends to the command.
        command = [sys.executable, "-m", "rayspin.cluster.embedded", self._mark]
        self._reaper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def start(self, init: Callable[[], object]) -> None:
        """Call `init`, which starts Ray as children of this process; from the main thread."""
        before = {os.getpid(), self._reaper.pid, *descendants(os.getpid())}
        os.environ[_MARK] = self._mark
        too_long = threading.Timer(_START_S, self._give_up)
        too_long.daemon = True
        too_long.start()
        try:
            init()
        finally:
            too_long.cancel()
            del os.environ[_MARK]
        self._learn(pid for pid in descendants(os.getpid()) if pid not in before)
        for pid in [pid for pid, _ in self._known if any(script in command_line(pid) for script in _OF_NO_USE)]:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        daemons = {os.pidfd_open(pid): name for pid, _ in self._known if (name := stat(pid)[NAME]) in _DAEMONS}
        signal.signal(signal.SIGUSR1, self._raise)
        self._watch = threading.Thread(target=self._look, args=(daemons,), daemon=True)
        self._watch.start()

    def close(self, shutdown: Callable[[], object]) -> None:
        """Call `shutdown`, which ends Ray in order, and see off what is left of it."""
        self._closing.set()
        os.eventfd_write(self._wake, 1)
        if self._watch is not None:
            self._watch.join()
        shutdown()
        if self._reaper.stdin is not None:
            self._reaper.stdin.close()
        self._reaper.wait()
        os.close(self._wake)

    def _look(self, daemons: dict[int, str]) -> None:
        poll = select.poll()
        for descriptor in (self._wake, *daemons):
            poll.register(descriptor, select.POLLIN)
        while not self._closing.is_set() and self.lost is None:
            for descriptor, _ in poll.poll(1000 * _LOOK_S):
                self.lost = daemons.get(descriptor)
            if self.lost is None:
                self._learn(descendants(*(process.pid for process in self._known)))
        for descriptor in daemons:
            os.close(descriptor)
        if self.lost is not None:
            self._end_run()

    def _end_run(self) -> None:
        """Ray is lost: kill the rest of it, which would only complain at length, and see that the command ends."""
        _kill(self._known, self._mark)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        if not self._closing.wait(_GRACE_S):
            _exit(self._error())

    def _give_up(self) -> None:
        """Ray does not start, and the main thread waits for it where no signal is heard."""
        _exit(RunError("Ray on this machine", f"no start within {_START_S:.0f} s", "run the same command again"))

    def _learn(self, pids: Iterable[int]) -> None:
        # Some may have ended since they were seen.
        new = {process for pid in pids if (process := _Process.of(pid)).started} - self._known
        self._known |= new
        if new and self._reaper.stdin is not None:
            with suppress(BrokenPipeError):
                self._reaper.stdin.write("".join(f"{pid} {started}\n" for pid, started in new).encode())
                self._reaper.stdin.flush()

    def _raise(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.lost is not None:
            raise self._error()

    def _error(self) -> RunError:
        remedy = "what is done is kept, and the same command goes on; if it comes again, look at memory"
        return RunError("Ray on this machine", f"its {self.lost} died", remedy)


def _exit(error: RunError) -> NoReturn:
    """End the command at once; the process beside it ends the rest of Ray."""
    complain(error)
    os._exit(error.exit_code)


def _kill(known: Iterable[_Process], mark: str) -> None:
    """Kill these processes and those with the mark, and whatever they have just started."""
    end = time.monotonic() + _KILL_S
    told = set(known)
    while (left := {process.pid for process in told if process.runs()} | _marked(mark)) and time.monotonic() < end:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _marked(mark: str) -> set[int]:
    entry = f"{_MARK}={mark}".encode()
    found = set()
    for path in Path("/proc").iterdir():
        # Another user's can't be read, and any may end at this moment.
        with suppress(OSError):
            if path.name.isdigit() and entry in (path / "environ").read_bytes().split(b"\0"):
                found.add(int(path.name))
    return found


def _reap(mark: str) -> None:
    """Hear who belongs to Ray until the command ends, and with it its end of the pipe; then end them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    told = [line.split() for line in sys.stdin.read().splitlines()]
    _kill((_Process(int(pid), started) for pid, started in told), mark)


if __name__ == "__main__":
    _reap(sys.argv[1])
