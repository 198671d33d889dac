"""Plays a scheduler against its ledger: known results are reported to it, missing segments are given out."""

from __future__ import annotations

import math

from rayspin.config import suggestion
from rayspin.errors import InputError
from rayspin.jobs.tune.ledger import Ledger
from rayspin.jobs.tune.outcomes import Failed, Figures, Finished
from rayspin.jobs.tune.schedulers import Scheduler, Segment


class SegmentQueue:
    """The segments of a sweep that are still to run, one by one.

    Args:
        scheduler: what runs next.
        ledger: what was run.
        metric: the figure that trials are compared by, and whether the most is best instead of the least.
        retries: how often a trial is tried again after an exception.
    """

    def __init__(self, scheduler: Scheduler, ledger: Ledger, metric: tuple[str, bool], retries: int = 0) -> None:
        self.scheduler, self.ledger = scheduler, ledger
        self._metric, self._most = metric
        self._retries = retries
        self._again: list[Segment] = []
        self._failures: dict[str, int] = {}
        self._out: dict[tuple[str, int], list[Segment]] = {}
        self._done = self._failed = 0
        self._best = math.inf

    def next(self) -> Segment | None:
        """The next segment to run, or None if none is ready before a result comes in.

        Raises:
            InputError: the metric is none of the figures of a result.
        """
        segment = self._again.pop() if self._again else self._next_new()
        if segment is not None:
            self.ledger.start(segment)
        return segment

    def _next_new(self) -> Segment | None:
        while (segment := self.scheduler.next()) is not None:
            self.ledger.plan([segment.trial])
            known = self.ledger.result(segment)
            key = (segment.trial.name, segment.until)
            if known is not None:
                self._tell(segment, known)
            elif key in self._out:
                # The same trial was asked for twice: it runs once.
                self._out[key].append(segment)
            else:
                self._out[key] = [segment]
                return segment
        return None

    def play(self) -> None:
        """Tell the scheduler all that was run before, as far as it goes."""
        segment = self._next_new()
        if segment is not None:
            self._again.append(segment)

    @property
    def done(self) -> int:
        """How many trials have ended."""
        return self._done

    def progress(self) -> dict[str, float]:
        """Figures to show: the best so far, trials under way, failures."""
        shown = {"running": float(len(self._out))}
        if self._best < math.inf:
            shown[f"best {self._metric}"] = -self._best if self._most else self._best
        return shown | ({"failed": float(self._failed)} if self._failed else {})

    @property
    def ended(self) -> bool:
        """Whether all is run."""
        return self.scheduler.ended and not self._out

    def take(self, segment: Segment, outcome: Finished | Failed) -> None:
        """Record how a segment that was given out ended, and decide what follows from it."""
        self.ledger.record(segment, outcome)
        name = segment.trial.name
        figures = None
        if isinstance(outcome, Finished):
            figures = outcome.figures
        else:
            self._failures[name] = self._failures.get(name, 0) + 1
            if self._failures[name] <= self._retries and not outcome.hopeless:
                self._again.append(segment)
                return
        for same in self._out.pop((name, segment.until)):
            self._tell(same, figures)

    def _tell(self, segment: Segment, figures: Figures | None) -> None:
        value = None if figures is None else self.value(figures)
        self._best = min(self._best, math.inf if value is None else value)
        self.scheduler.tell(segment, value)
        for state in self.scheduler.newly_settled():
            self.ledger.end(state.trial, state.end)
            self._done += 1
            self._failed += state.end == "failed"

    def value(self, figures: Figures) -> float:
        """The metric, the less the better."""
        if self._metric not in figures:
            raise InputError("metric", f"no trial reports {self._metric!r}", suggestion(self._metric, figures))
        value = float(figures[self._metric])
        return math.inf if math.isnan(value) else -value if self._most else value
