"""Stop on request: what is in flight ends, the rest waits for the same command.

SIGTERM, SIGINT (Ctrl-C), SIGUSR2 (Slurm, before the walltime) and a deadline all ask for the same. Work that can drain
says so with `draining` and looks at `requested`; other work ends at once, as everything does at a second request.
Either way the run ends with `Incomplete` (exit code 75): its files are whole at any moment.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rayspin import signals
from rayspin.errors import Incomplete, RayspinError

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGALRM)


@contextmanager
def interruptible() -> Iterator[None]:
    """What a signal's handler raises in the block comes out as it is; Ray wraps it while it waits."""
    try:
        yield
    except SystemError as error:
        raise error.__cause__ if isinstance(error.__cause__, RayspinError) else error from None


class StopRequest:
    """Whether this process was asked to stop, and by what."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._draining = False

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self._reason is not None

    def listen(self, deadline_s: float | None = None) -> None:
        """Take the signals of this process, from its main thread; ask for a stop after `deadline_s` seconds."""
        for number in _SIGNALS:
            signal.signal(number, self._take)
        signals.release()
        if deadline_s is not None:
            signal.setitimer(signal.ITIMER_REAL, deadline_s)

    @contextmanager
    def draining(self) -> Iterator[None]:
        """The block sees to a first request itself."""
        around, self._draining = self._draining, True
        try:
            yield
        finally:
            self._draining = around

    def heed(self) -> None:
        """End a run that was asked to stop before its work began: raise `Incomplete`."""
        if self.requested:
            raise self.incomplete("run", "what its folder holds")

    def incomplete(self, where: str, done: str) -> Incomplete:
        """The error that ends a run which stopped on request with so much `done`."""
        return Incomplete(where, f"stopped by {self._reason} with {done}", "the same command goes on")

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        again = self.requested
        # A walltime that is near twice is no nearer.
        if again and number in (signal.SIGUSR2, signal.SIGALRM):
            return
        self._reason = "the deadline" if number == signal.SIGALRM else signal.Signals(number).name
        if again or not self._draining:
            self.heed()
