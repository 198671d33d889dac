"""The scheduler of a sweep: which trial runs next and for how long, as a function of the results so far.

A scheduler never looks at a clock or at the order in which results come in: every decision about trial i follows from
the trials before it. So a sweep that was killed is played again from its ledger and goes on as it would have, a
sweep on one core ends with the table of a sweep on a thousand, and more trials change no earlier decision.
"""

from __future__ import annotations

import bisect
import heapq
import math
from dataclasses import dataclass, field
from typing import Protocol

import pydantic

from rayspin.config import Config
from rayspin.jobs.tune.search import Source
from rayspin.jobs.tune.trials import Trial


@dataclass(frozen=True)
class Segment:
    """A part of a trial that runs in one go: until so many epochs (or samples) are done in all."""

    number: int
    """Place of the trial in the course."""
    trial: Trial
    until: int


class Scheduler(Protocol):
    """What runs next."""

    @property
    def count(self) -> int:
        """How many trials there will be, as far as is known."""

    @property
    def ended(self) -> bool:
        """Whether nothing is left to run, or under way."""

    def next(self) -> Segment | None:
        """The next segment, or None if none is ready before more is told."""

    def tell(self, segment: Segment, value: float | None) -> None:
        """What the metric was at the end of a segment, the less the better; None if the trial failed."""

    def trial_states(self) -> list[TrialState]:
        """Every trial that was given out, in order."""

    def newly_settled(self) -> list[TrialState]:
        """The trials of which nothing is left to run since this was last asked."""


@dataclass
class TrialState:
    """How far a trial is."""

    trial: Trial
    segment: int = 0
    """The last segment that it was sent on."""
    until: int = 0
    """The end of that segment."""
    values: list[float | None] = field(default_factory=list)
    """Of the segments it has done; None in the last place if it failed."""
    stopped: bool = False
    """Whether it was stopped before its end."""
    settled: bool = False
    """Whether nothing of it is left to run."""

    @property
    def end(self) -> str:
        """How it left the sweep: "done", "stopped" or "failed"; empty while something is left to run."""
        if not self.settled:
            return ""
        if self.values and self.values[-1] is None:
            return "failed"
        return "stopped" if self.stopped else "done"


class Asha(Config):
    """Asynchronous successive halving (Li et al., arXiv:1810.05934): trials that fall behind are stopped early.

    At each rung a trial goes on if it is among the best 1 / `reduction` of those that came this far, itself included.
    Here only the trials before it count, whoever arrives first: nothing depends on the speed of a machine. No worker
    waits at a rung while there are trials to start.
    """

    reduction: int = pydantic.Field(default=3, gt=1)
    """Of so many trials one goes on, and so many times the epochs it gets."""
    first: int = pydantic.Field(default=1, gt=0)
    """Epochs until the first rung."""

    def rungs(self, budget: int) -> list[int]:
        """The epochs after which trials are compared, and the whole budget at the end."""
        steps = math.ceil(math.log(max(budget / self.first, 1), self.reduction) - 1e-9)
        return [*(self.first * self.reduction**step for step in range(steps)), budget]


class Halving:
    """The scheduler of trials from a source: each to its end, or with successive halving.

    Args:
        source: where the trials come from.
        asha: how trials are stopped early; None: not at all.
    """

    def __init__(self, source: Source, asha: Asha | None = None) -> None:
        self._source, self._asha = source, asha
        self._states: list[TrialState] = []
        self._promoted: list[tuple[int, int]] = []
        self._rungs: dict[int, _Rung] = {0: _Rung()}
        self._settled = 0
        self._new: list[TrialState] = []

    @property
    def count(self) -> int:
        """How many trials there will be."""
        return self._source.count

    @property
    def ended(self) -> bool:
        """Whether nothing is left to run, or under way."""
        return self._source.ended and self._settled == len(self._states)

    def next(self) -> Segment | None:
        """The next segment: those that came far go first."""
        if self._promoted:
            _, number = heapq.heappop(self._promoted)
            return self._segment(number)
        trial = self._source.next()
        if trial is None:
            return None
        self._states.append(TrialState(trial))
        return self._segment(len(self._states) - 1)

    def tell(self, segment: Segment, value: float | None) -> None:
        """Take note of a result, and decide what can be decided by now."""
        state = self._states[segment.number]
        state.values.append(value)
        if value is None or state.segment == len(self._ends(state.trial)) - 1:
            self._settle(state)
        level = 0
        while level in self._rungs:
            self._decide(level, self._rungs[level])
            level += 1
        while self._settled < len(self._states) and self._states[self._settled].settled:
            self._source.settled(self._states[self._settled].values[-1])
            self._settled += 1

    def trial_states(self) -> list[TrialState]:
        """Every trial that was given out, in order."""
        return self._states

    def newly_settled(self) -> list[TrialState]:
        """The trials of which nothing is left to run since this was last asked."""
        new, self._new = self._new, []
        return new

    def _decide(self, level: int, rung: _Rung) -> None:
        """Decide at a rung, trial by trial in order, as far as their results are known."""
        while rung.next < len(self._states):
            state = self._states[rung.next]
            if not state.settled:
                if len(state.values) <= level:
                    return
                self._pass_or_stop(rung.next, rung, level)
            rung.next += 1

    def _pass_or_stop(self, number: int, rung: _Rung, level: int) -> None:
        state = self._states[number]
        value = state.values[level]
        assert value is not None
        bisect.insort(rung.values, value)
        assert self._asha is not None
        if bisect.bisect_left(rung.values, value) < math.ceil(len(rung.values) / self._asha.reduction):
            state.segment = level + 1
            # The farther, the earlier; then by number.
            heapq.heappush(self._promoted, (-state.segment, number))
            self._rungs.setdefault(state.segment, _Rung())
        else:
            state.stopped = True
            self._settle(state)

    def _settle(self, state: TrialState) -> None:
        state.settled = True
        self._new.append(state)

    def _segment(self, number: int) -> Segment:
        state = self._states[number]
        state.until = self._ends(state.trial)[state.segment]
        return Segment(number, state.trial, state.until)

    def _ends(self, trial: Trial) -> list[int]:
        return [trial.budget] if self._asha is None else self._asha.rungs(trial.budget)


@dataclass
class _Rung:
    """Where decisions have come to at one rung."""

    next: int = 0
    """Number of the trial that is decided next."""
    values: list[float] = field(default_factory=list)
    """Of the trials before it that came here, in ascending order."""
