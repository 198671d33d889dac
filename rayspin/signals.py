"""SIGTERM reaches the main thread only.

Ray installs a handler of its own for SIGTERM while it connects, which ends the process without draining, whichever
thread receives the signal. So the main thread blocks SIGTERM for that time, and all other threads do so for good.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TERM = {signal.SIGTERM}


def hold() -> None:
    """Block SIGTERM in this thread, and in the threads that it starts, until `release`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _TERM)


def release() -> None:
    """Receive SIGTERM in this thread, also one that was sent since `hold`."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TERM)


def ignore_at_exit() -> None:
    """Block the signals that request a stop until this process has ended.

    Call it when the exit code is known. Python's shutdown takes about a second and resets the signal handlers, so that
    a signal would end the process with another exit code.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGUSR2})


@contextmanager
def held() -> Iterator[None]:
    """A context in which SIGTERM is blocked in this thread; it is received at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TERM)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(thread: threading.Thread) -> None:
    """Start a thread that never receives SIGTERM."""
    with held():
        thread.start()
