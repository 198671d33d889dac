"""Stop requests: the work in flight finishes, and running the same command again resumes the rest.

SIGTERM, SIGINT (Ctrl-C), SIGUSR2 (sent by Slurm before the walltime) and a deadline all request a stop. Work that can
drain runs inside `StopRequest.draining` and checks `StopRequest.requested`. Other work ends at once, and a second
request ends all work at once. In both cases the run ends with `Incomplete` (exit code 75); its files are valid at any
time.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rayspin import signals
from rayspin.errors import Incomplete, RayspinError

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGALRM)


class Interruption(BaseException):
    """Carries an error from a signal handler through code that catches `Exception`.

    Ray Tune would count an exception that is raised in one of its calls of Ray as the failure of a trial.

    Attributes:
        error: the error.
    """

    def __init__(self, error: RayspinError) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise the error that an `Interruption` of the block carries.

    Ray's waiting functions wrap what a signal handler raises in a SystemError.
    """
    try:
        yield
    except (Interruption, SystemError) as raised:
        cause = raised.__cause__ if isinstance(raised, SystemError) else raised
        raise cause.error if isinstance(cause, Interruption) else raised from None


class StopRequest:
    """Records whether this process was asked to stop, and by which signal or deadline."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._draining = False

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._reason is not None

    def listen(self, deadline_s: float | None = None) -> None:
        """Install the signal handlers of this process; call this from the main thread.

        Args:
            deadline_s: seconds after which a stop is requested; None for no deadline.
        """
        for number in _SIGNALS:
            signal.signal(number, self._handle_signal)
        signals.release()
        if deadline_s is not None:
            signal.setitimer(signal.ITIMER_REAL, deadline_s)

    @contextmanager
    def draining(self) -> Iterator[None]:
        """Context in which a first request only sets `requested`, so that the block can finish its work in flight."""
        around, self._draining = self._draining, True
        try:
            yield
        finally:
            self._draining = around

    def heed(self) -> None:
        """End the run if a stop was requested.

        Raises:
            Incomplete: a stop was requested.
        """
        if self.requested:
            raise self._at_once()

    def incomplete(self, where: str, done: str) -> Incomplete:
        """Return the error that ends a run stopped on request.

        Args:
            where: the run, usually its folder.
            done: what was completed ("5 of 30 samples done").
        """
        return Incomplete(where, f"stopped by {self._reason} with {done}", "run the same command again to resume")

    def _at_once(self) -> Incomplete:
        """The error that ends a run wherever it is."""
        return self.incomplete("run", "completed work saved")

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        again = self.requested
        # A second warning about the same walltime or deadline does not make the stop more urgent.
        if again and number in (signal.SIGUSR2, signal.SIGALRM):
            return
        self._reason = "the deadline" if number == signal.SIGALRM else signal.Signals(number).name
        if again or not self._draining:
            raise Interruption(self._at_once())
