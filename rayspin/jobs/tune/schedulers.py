"""Schedulers of a sweep: which trial runs next and for how many epochs, as a function of the results so far.

The decisions of a scheduler depend neither on time nor on the order in which results arrive: a decision about trial i
depends only on results of trial i and earlier ones. Therefore, a killed sweep can be replayed from its ledger and
continues as if it had not been interrupted, the table of a sweep does not depend on the number of cores, and additional
trials do not change earlier decisions.
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
    """A part of a trial that runs without interruption.

    Attributes:
        number: index of the trial in the scheduler.
        trial: trial to run.
        until: total number of epochs (or samples) of the trial at the end of the segment.
    """

    number: int
    trial: Trial
    until: int

    @property
    def key(self) -> tuple[str, int]:
        """The name of the trial and `until`, which are equal for segments with the same result."""
        return self.trial.name, self.until


class Scheduler(Protocol):
    """Interface of schedulers."""

    @property
    def count(self) -> int:
        """Number of trials, as far as it is known."""

    @property
    def ended(self) -> bool:
        """Whether all trials have ended and no further trial will start."""

    def next(self) -> Segment | None:
        """Return the next segment to run, or None if more results are needed first or all trials have ended."""

    def tell(self, segment: Segment, value: float | None) -> None:
        """Take the metric at the end of a segment; smaller is better. None means that the trial failed."""

    def trial_states(self) -> list[TrialState]:
        """Return the states of all trials that have started, in order."""

    def newly_settled(self) -> list[TrialState]:
        """Return the trials that have ended since the last call."""


@dataclass
class TrialState:
    """State of a trial in a scheduler.

    Attributes:
        trial: trial.
        segment: index of its current segment.
        until: total number of epochs (or samples) at the end of that segment.
        values: metric at the end of each finished segment; the last one is None if the trial failed.
        stopped: whether the trial was stopped before its last epoch.
        settled: whether the trial has ended.
    """

    trial: Trial
    segment: int = 0
    until: int = 0
    values: list[float | None] = field(default_factory=list)
    stopped: bool = False
    settled: bool = False

    @property
    def end(self) -> str:
        """How the trial left the sweep: "done", "stopped" or "failed"; empty while it is in progress."""
        if not self.settled:
            return ""
        if self.values and self.values[-1] is None:
            return "failed"
        return "stopped" if self.stopped else "done"


class Asha(Config):
    """Asynchronous successive halving (Li et al., arXiv:1810.05934): stops trials with poor metrics early.

    At each rung, a trial continues if it is among the best 1 / `reduction` of the trials that reached the rung, itself
    included. Unlike in the paper, it is compared only with trials of lower index, not with those that arrived earlier,
    so the result does not depend on the speed of machines. Workers do not wait at a rung while new trials can start.
    """

    reduction: int = pydantic.Field(default=3, gt=1)
    """Factor between rungs: one of `reduction` trials continues, to `reduction` times as many epochs."""
    first: int = pydantic.Field(default=1, gt=0)
    """Number of epochs before the first rung."""

    def rungs(self, budget: int) -> list[int]:
        """Return the numbers of epochs at which trials are compared, followed by the whole budget."""
        steps = math.ceil(math.log(max(budget / self.first, 1), self.reduction) - 1e-9)
        return [*(self.first * self.reduction**step for step in range(steps)), budget]


class Halving:
    """Scheduler that runs the trials of a source completely or with successive halving.

    Args:
        source: source of the trials.
        asha: successive halving; None runs every trial to its end.
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
        """Number of trials."""
        return self._source.count

    @property
    def ended(self) -> bool:
        """Whether all trials have ended and no further trial will start."""
        return self._source.ended and self._settled == len(self._states)

    def next(self) -> Segment | None:
        """Return the next segment; trials that have passed more rungs have priority over others and over new trials."""
        if self._promoted:
            _, number = heapq.heappop(self._promoted)
            return self._segment(number)
        trial = self._source.next()
        if trial is None:
            return None
        self._states.append(TrialState(trial))
        return self._segment(len(self._states) - 1)

    def tell(self, segment: Segment, value: float | None) -> None:
        """Take the metric at the end of a segment, and make all decisions that are possible now."""
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
        """Return the states of all trials that have started, in order."""
        return self._states

    def newly_settled(self) -> list[TrialState]:
        """Return the trials that have ended since the last call."""
        new, self._new = self._new, []
        return new

    def _decide(self, level: int, rung: _Rung) -> None:
        """Decide at a rung for one trial after another, up to the first whose result is missing."""
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
            # Trials at higher rungs run first; ties are resolved by index.
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
    """State of the decisions at one rung.

    Attributes:
        next: index of the trial to decide on next.
        values: metrics at this rung of the trials with lower index, in ascending order.
    """

    next: int = 0
    values: list[float] = field(default_factory=list)
