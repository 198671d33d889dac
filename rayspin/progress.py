"""How long-running work tells of itself, without knowing who listens (a terminal, a log file, nobody)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Track(Protocol):
    """One counted piece of work under way."""

    def update(self, done: int, **figures: float) -> None:
        """Say that `done` of the total are done by now, and the latest figures (a loss, an energy)."""


POLL_S = 0.5
"""Seconds between two looks at work that tells of itself through files."""


class Progress(Protocol):
    """Where work shows itself; `rayspin.console` has the one for people."""

    def track(self, title: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Track]:
        """A counted piece of work: `total` things called `unit`, of which `done` were done before."""

    def say(self, text: str) -> None:
        """One line that stays."""


class Silent:
    """Progress that nobody watches: in notebooks, trials and tests."""

    @contextmanager
    def track(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Track]:  # noqa: ARG002
        """A track that keeps nothing."""
        yield _SilentTrack()

    def say(self, text: str) -> None:
        """Nothing."""


class _SilentTrack:
    def update(self, done: int, **figures: float) -> None:
        pass


@contextmanager
def polling(look: Callable[[], None]) -> Iterator[None]:
    """`look` is called now and then while the block runs, and once after it.

    For work that holds this thread and whose progress is seen in files only.
    """
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(POLL_S):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    look()


def duration(seconds: float) -> str:
    """A time in the unit that people would use."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
