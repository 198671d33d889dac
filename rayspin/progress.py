"""How long-running work tells of itself, without knowing who listens (a terminal, a log file, nobody)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Track(Protocol):
    """One counted piece of work under way."""

    def update(self, done: int, **figures: float) -> None:
        """Say that `done` of the total are done by now, and the latest figures (a loss, an energy)."""


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
