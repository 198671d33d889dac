"""Replay a scheduler from its ledger: report the known results to it and give out the missing segments."""

from __future__ import annotations

import math
from collections import Counter

from rayspin.config import suggestion
from rayspin.errors import InputError
from rayspin.jobs.train.workers import WORKER_RESTARTS
from rayspin.jobs.tune.ledger import Ledger
from rayspin.jobs.tune.outcomes import Failed, Figures, Finished
from rayspin.jobs.tune.schedulers import Scheduler, Segment


class SegmentQueue:
    """Gives out the segments of a sweep that are still to run, and records their outcomes.

    Args:
        scheduler: chooses the segments.
        ledger: record of what has run.
        metric: (name of the metric that trials are compared by, whether it is maximized instead of minimized).
        retries: how often a trial is run again after an exception.

    The arguments `scheduler` and `ledger` are also attributes.
    """

    def __init__(self, scheduler: Scheduler, ledger: Ledger, metric: tuple[str, bool], retries: int = 0) -> None:
        self.scheduler, self.ledger = scheduler, ledger
        self._metric, self._maximize = metric
        self._retries = retries
        self._again: list[Segment] = []
        self._failures: Counter[str] = Counter()
        self._losses: Counter[tuple[str, int]] = Counter()
        self._out: dict[tuple[str, int], list[Segment]] = {}
        self._done = self._failed = 0
        self._best = math.inf

    def next(self) -> Segment | None:
        """Return the next segment to run; None if the scheduler needs more results first, or if all are given out.

        Raises:
            InputError: a result does not contain the metric.
        """
        segment = self._again.pop() if self._again else self._next_new()
        if segment is not None:
            self.ledger.start(segment)
        return segment

    def _next_new(self) -> Segment | None:
        while (segment := self.scheduler.next()) is not None:
            self.ledger.plan([segment.trial])
            known = self.ledger.result(segment)
            if known is not None:
                self._report(segment, known)
            elif segment.key in self._out:
                # The scheduler chose the same trial twice; it runs only once.
                self._out[segment.key].append(segment)
            else:
                self._out[segment.key] = [segment]
                return segment
        return None

    def play(self) -> None:
        """Report the results in the ledger to the scheduler, up to the first missing one."""
        segment = self._next_new()
        if segment is not None:
            self._again.append(segment)

    @property
    def done(self) -> int:
        """Number of trials that have ended."""
        return self._done

    def progress(self) -> dict[str, float]:
        """Return values for the progress display: running trials, the best metric so far, and failed trials."""
        values = {"running": float(len(self._out))}
        if self._best < math.inf:
            values[f"best {self._metric}"] = -self._best if self._maximize else self._best
        return values | ({"failed": float(self._failed)} if self._failed else {})

    @property
    def ended(self) -> bool:
        """Whether all segments have run."""
        return self.scheduler.ended and not self._out

    def take(self, segment: Segment, outcome: Finished | Failed) -> None:
        """Record the outcome of a segment, and report it to the scheduler unless the segment is to be retried.

        Raises:
            InputError: the result does not contain the metric.
        """
        self.ledger.record(segment, outcome)
        name = segment.trial.name
        figures = None
        if isinstance(outcome, Finished):
            figures = outcome.figures
        else:
            self._failures[name] += 1
            if self._failures[name] <= self._retries and not outcome.hopeless:
                self._again.append(segment)
                return
        for same in self._out.pop(segment.key):
            self._report(same, figures)

    def lost(self, segment: Segment) -> None:
        """Take the loss of the worker that ran the segment, which is run again up to `WORKER_RESTARTS` times."""
        self._losses[segment.key] += 1
        losses = self._losses[segment.key]
        if losses <= WORKER_RESTARTS:
            self._again.append(segment)
        else:
            problem = f"its worker was lost {losses} times (possibly out of memory or a crash)"
            self.take(segment, Failed(problem, hopeless=True))

    def _report(self, segment: Segment, figures: Figures | None) -> None:
        value = None if figures is None else self.value(figures)
        self._best = min(self._best, math.inf if value is None else value)
        self.scheduler.tell(segment, value)
        for state in self.scheduler.newly_settled():
            self.ledger.end(state.trial, state.end)
            self._done += 1
            self._failed += state.end == "failed"

    def value(self, figures: Figures) -> float:
        """Return the metric, negated if it is maximized, so that smaller is better; NaN becomes infinity.

        Raises:
            InputError: `figures` does not contain the metric.
        """
        if self._metric not in figures:
            raise InputError("metric", f"no trial reports {self._metric!r}", suggestion(self._metric, figures))
        value = float(figures[self._metric])
        return math.inf if math.isnan(value) else -value if self._maximize else value
