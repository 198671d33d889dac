"""Handling of failures of standard output and error: the disk is full, or the reader has closed the pipe.

A command that only prints something ends at such a failure (`checked`). A run continues without its progress (`Lossy`).
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
    """Standard output cannot be written.

    Attributes:
        unread: whether the reader has closed the pipe, as `head` does after its last line.
    """

    def __init__(self, where: str, problem: str, remedy: str, *, unread: bool = False) -> None:
        super().__init__(where, problem, remedy)
        self.unread = unread


class _Checked:
    """A text stream that raises `OutputError` if it cannot be written, and at every later write."""

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
                problem, remedy = error.strerror or str(error), "redirect it to a file that can be written"
                self._error = OutputError("standard output", problem, remedy, unread=error.errno == errno.EPIPE)
                self._discard()
        raise self._error from None

    def _discard(self) -> None:
        # Python would flush the rest of the buffer at the end of the process and fail again.
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class Lossy:
    """A checked stream that ignores failures: text that cannot be written is discarded."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text, or discard it if the stream has failed."""
        with suppress(OutputError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream unless it has failed."""
        with suppress(OutputError):
            self._stream.flush()


@contextmanager
def checked() -> Iterator[None]:
    """Make `sys.stdout` raise `OutputError` in the block if it cannot be written.

    Characters that its encoding lacks are written as escapes.
    """
    stream = sys.stdout
    # It is None if the process was started without standard output.
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
    """Print the error on standard error; discard it if that cannot be written."""
    with suppress(OSError):
        print(error, file=sys.stderr, flush=True)  # noqa: T201  the only use of print


def end_unread() -> None:
    """Terminate this process by SIGPIPE, as the system does when a process writes to a closed pipe."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
