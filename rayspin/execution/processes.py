"""The child processes of a supervisor or keeper: out of reach of the signals meant for it, and ended to the last one.

Slurm sends its signals to every process of a step. The warning before the walltime is SIGUSR2, whose default
action would kill Ray's daemons on all nodes at once; children are therefore started with it ignored, which
survives exec.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_EXEC = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""
"""What a child does before it becomes its command. `preexec_fn` would do it in a fork of a process with threads."""
_MANY_FILES = 65536
_libc = ctypes.CDLL(None)


class Child:
    """A process in a session of its own that gets SIGTERM when its parent dies, however that dies.

    Args:
        command: what to run.
        environment: its environment, whole.
        log: the file that takes its output; None to share the parent's.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path | None = None) -> None:
        output = None if log is None else log.open("ab")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _EXEC, str(os.getpid()), *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send it SIGTERM."""
        if self.ended() is None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill it and what it started, as far as that stayed in its process group."""
        if self.ended() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self, seconds: float) -> None:
        """Ask it to stop, and kill it after so many seconds."""
        self.ask_to_stop()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()


def adopt_orphans() -> None:
    """Make this process the parent of orphans among its descendants, so that `end_descendants` finds them."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def allow_many_files() -> None:
    """Raise this process's limit of open files: a host has a socket for each node, and Ray's head has more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(_MANY_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def end_descendants(seconds: float = 10.0) -> None:
    """Kill whatever this process started, directly or not, and wait until all of it is gone."""
    deadline = time.monotonic() + seconds
    # An orphan becomes a child of this process when its own parent is dead.
    while (left := psutil.Process().children(recursive=True)) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=0.02)
