"""Standard output and error, which may fail: their disk is full, or their reader has left.

A command whose output is its purpose ends there (`checked`); a run goes on without its progress (`Lossy`).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, TypeVar

from rayspin.errors import RunError

Value = TypeVar("Value")


class OutputError(RunError):
    """Standard output can't be written."""

    def __init__(self, where: str, problem: str, remedy: str, *, unread: bool = False) -> None:
        super().__init__(where, problem, remedy)
        self.unread = unread
        """Its reader has left, as `head` does once it has its lines."""


class _Checked:
    """A text stream that says by an `OutputError` that it can't be written, from then on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._error: OutputError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return self._tried(lambda: self._stream.write(text))

    def flush(self) -> None:
        self._tried(self._stream.flush)

    def _tried(self, do: Callable[[], Value]) -> Value:
        if self._error is None:
            try:
                return do()
            except OSError as error:
                problem, remedy = error.strerror or str(error), "send it to where it can be written"
                self._error = OutputError("standard output", problem, remedy, unread=error.errno == errno.EPIPE)
                self._discard()
        raise self._error from None

    def _discard(self) -> None:
        # What is left in the buffer would fail again at the end of the process.
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class Lossy:
    """A checked stream whose failure is no reason to stop: what can't be written is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or not."""
        with suppress(OutputError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or not."""
        with suppress(OutputError):
            self._stream.flush()


@contextmanager
def checked() -> Iterator[None]:
    """`sys.stdout` is checked in the block: it raises `OutputError` where it can't be written.

    What its encoding doesn't have is written as escapes.
    """
    stream = sys.stdout
    # None for a process that was started without one.
    if stream is None:
        yield
        return
    if reconfigure := getattr(stream, "reconfigure", None):
        reconfigure(errors="backslashreplace")
    sys.stdout = _Checked(stream)
    try:
        yield
    finally:
        sys.stdout = stream


def complain(error: Exception) -> None:
    """A line on standard error; lost if that can't be written."""
    with suppress(OSError):
        print(error, file=sys.stderr, flush=True)  # noqa: T201  the one place for it


def end_unread() -> None:
    """End this process as the system ends those that write to a reader that has left."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
