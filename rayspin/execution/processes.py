"""Child processes of a supervisor or keeper: shielded from the signals meant for their parent, and all ended with it.

Slurm sends its signals to every process of a step. Its warning before the walltime is SIGUSR2, whose default action
would kill Ray's daemons on all nodes at once. Children are therefore started with SIGUSR2 ignored; exec keeps this
setting.
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
"""Program that sets up a child and then executes its command. `preexec_fn` is not safe in a process with threads."""
_MANY_FILES = 65536
_libc = ctypes.CDLL(None)


class Child:
    """A child process in its own session, which gets SIGTERM when its parent dies for any reason.

    Args:
        command: program and arguments.
        environment: complete environment of the child.
        log: file to which its output is appended; None to share the output of the parent.
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
        """The exit code, negative if the child was ended by a signal; None while the child runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the child."""
        if self.ended() is None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the child's process group and wait for the child."""
        if self.ended() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self, seconds: float) -> None:
        """Send SIGTERM to the child, and kill it if it has not ended within `seconds` seconds."""
        self.ask_to_stop()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()


def adopt_orphans() -> None:
    """Make this process the new parent of orphaned descendants, so that `end_descendants` finds them."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def allow_many_files() -> None:
    """Raise the limit of open files of this process: the host has one socket per node, and Ray's head has more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(_MANY_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def end_descendants(seconds: float = 10.0) -> None:
    """Kill all descendants of this process and wait up to `seconds` seconds until they have ended."""
    deadline = time.monotonic() + seconds
    # Repeat, because an orphan becomes a child of this process only once its own parent is dead.
    while (left := psutil.Process().children(recursive=True)) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=0.02)
