"""Plays a course against its ledger: what was run is told, what is missing is given out, what comes in is entered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rayspin.config import suggestion
from rayspin.errors import InputError
from rayspin.jobs.tune.course import Course, Leg
from rayspin.jobs.tune.ledger import Figures, Ledger


class Feed:
    """The legs of a sweep that are still to run, one by one.

    Args:
        course: what runs next.
        ledger: what was run.
        metric: the figure that trials are compared by, and whether the most is best instead of the least.
        retries: how often a trial is tried again after an exception.
    """

    def __init__(self, course: Course, ledger: Ledger, metric: tuple[str, bool], retries: int = 0) -> None:
        self.course, self.ledger = course, ledger
        self._metric, self._most = metric
        self._retries = retries
        self._again: list[Leg] = []
        self._failures: dict[str, int] = {}
        self._out: dict[tuple[str, int], list[Leg]] = {}
        self._done = self._failed = 0
        self._best = math.inf

    def next(self) -> Leg | None:
        """The next leg to run, or None if none is ready before a result comes in.

        Raises:
            InputError: the metric is none of the figures of a result.
        """
        leg = self._again.pop() if self._again else self._next_new()
        if leg is not None:
            self.ledger.start(leg)
        return leg

    def _next_new(self) -> Leg | None:
        while (leg := self.course.next()) is not None:
            self.ledger.plan([leg.trial])
            known = self.ledger.result(leg)
            key = (leg.trial.name, leg.until)
            if known is not None:
                self._tell(leg, known)
            elif key in self._out:
                # The same trial was asked for twice: it runs once.
                self._out[key].append(leg)
            else:
                self._out[key] = [leg]
                return leg
        return None

    def play(self) -> None:
        """Tell the course all that was run before, as far as it goes."""
        leg = self._next_new()
        if leg is not None:
            self._again.append(leg)

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
        return self.course.ended and not self._out

    def take(self, leg: Leg, result: Mapping[str, Any]) -> None:
        """A result, or a failure with its `error`, of a leg that was given out."""
        self.ledger.enter(leg, result)
        name = leg.trial.name
        if result.get("error"):
            self._failures[name] = self._failures.get(name, 0) + 1
            if self._failures[name] <= self._retries and not result.get("hopeless"):
                self._again.append(leg)
                return
        figures = None if result.get("error") else result["figures"]
        for same in self._out.pop((name, leg.until)):
            self._tell(same, figures)

    def _tell(self, leg: Leg, figures: Figures | None) -> None:
        value = None if figures is None else self.value(figures)
        self._best = min(self._best, math.inf if value is None else value)
        self.course.tell(leg, value)
        for standing in self.course.newly_settled():
            self.ledger.end(standing.trial, standing.end)
            self._done += 1
            self._failed += standing.end == "failed"

    def value(self, figures: Figures) -> float:
        """The metric, the less the better."""
        if self._metric not in figures:
            raise InputError("metric", f"no trial reports {self._metric!r}", suggestion(self._metric, figures))
        value = float(figures[self._metric])
        return math.inf if math.isnan(value) else -value if self._most else value
