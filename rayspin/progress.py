"""Progress reporting of long-running work, independent of where it is shown (a terminal, a log file, nowhere)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rayspin import signals


class Track(Protocol):
    """Progress of one piece of work."""

    def update(self, done: int, **figures: float) -> None:
        """Report that `done` units of the total are done, with current figures such as a loss or an energy."""


POLL_S = 0.5
"""Seconds between two reads of files that record the progress of work."""


class Progress(Protocol):
    """Receiver of progress and messages; `rayspin.console.ConsoleProgress` prints them."""

    def track(self, title: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Track]:
        """Start to track a piece of work.

        Args:
            title: name of the work.
            total: number of units of work.
            unit: name of a unit, such as "sample".
            done: number of units that were done before this run.
        """

    def say(self, text: str) -> None:
        """Show a message."""


class Silent:
    """A receiver that discards all progress and messages, for notebooks, trials and tests."""

    @contextmanager
    def track(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Track]:  # noqa: ARG002
        """Return a track that discards its updates."""
        yield _SilentTrack()

    def say(self, text: str) -> None:
        """Discard the message."""


class _SilentTrack:
    def update(self, done: int, **figures: float) -> None:
        pass


@contextmanager
def polling(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` every `POLL_S` seconds in another thread while the block runs, and once after it.

    Used if the work blocks this thread and its progress can only be read from files.
    """
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(POLL_S):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    signals.start(watcher)
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    look()


def counted(count: int, noun: str) -> str:
    """Return a number and its noun, such as "1 shard" or "2 shards"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Format a time in seconds, minutes or hours, depending on its length."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
