"""The course of a sweep: which trial runs next and for how long, as a function of the results so far.

A course never looks at a clock or at the order in which results come in: every decision about trial i follows from
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
class Leg:
    """A part of a trial that runs in one go: until so many epochs (or samples) are done in all."""

    number: int
    """Place of the trial in the course."""
    trial: Trial
    until: int


class Course(Protocol):
    """What runs next."""

    @property
    def count(self) -> int:
        """How many trials there will be, as far as is known."""

    @property
    def ended(self) -> bool:
        """Whether nothing is left to run, or under way."""

    def next(self) -> Leg | None:
        """The next leg, or None if none is ready before more is told."""

    def tell(self, leg: Leg, value: float | None) -> None:
        """What the metric was at the end of a leg, the less the better; None if the trial failed."""

    def standings(self) -> list[Standing]:
        """Every trial that was given out, in order."""

    def newly_settled(self) -> list[Standing]:
        """The trials of which nothing is left to run since this was last asked."""


@dataclass
class Standing:
    """How far a trial is."""

    trial: Trial
    leg: int = 0
    """The last leg that it was sent on."""
    until: int = 0
    """The end of that leg."""
    values: list[float | None] = field(default_factory=list)
    """Of the legs it has done; None in the last place if it failed."""
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
    """The course of trials from a source: each to its end, or with successive halving.

    Args:
        source: where the trials come from.
        asha: how trials are stopped early; None: not at all.
    """

    def __init__(self, source: Source, asha: Asha | None = None) -> None:
        self._source, self._asha = source, asha
        self._standings: list[Standing] = []
        self._promoted: list[tuple[int, int]] = []
        self._rungs: dict[int, _Rung] = {0: _Rung()}
        self._settled = 0
        self._new: list[Standing] = []

    @property
    def count(self) -> int:
        """How many trials there will be."""
        return self._source.count

    @property
    def ended(self) -> bool:
        """Whether nothing is left to run, or under way."""
        return self._source.ended and self._settled == len(self._standings)

    def next(self) -> Leg | None:
        """The next leg: those that came far go first."""
        if self._promoted:
            _, number = heapq.heappop(self._promoted)
            return self._leg(number)
        trial = self._source.next()
        if trial is None:
            return None
        self._standings.append(Standing(trial))
        return self._leg(len(self._standings) - 1)

    def tell(self, leg: Leg, value: float | None) -> None:
        """Take note of a result, and decide what can be decided by now."""
        standing = self._standings[leg.number]
        standing.values.append(value)
        if value is None or standing.leg == len(self._ends(standing.trial)) - 1:
            self._settle(standing)
        level = 0
        while level in self._rungs:
            self._decide(level, self._rungs[level])
            level += 1
        while self._settled < len(self._standings) and self._standings[self._settled].settled:
            self._source.settled(self._standings[self._settled].values[-1])
            self._settled += 1

    def standings(self) -> list[Standing]:
        """Every trial that was given out, in order."""
        return self._standings

    def newly_settled(self) -> list[Standing]:
        """The trials of which nothing is left to run since this was last asked."""
        new, self._new = self._new, []
        return new

    def _decide(self, level: int, rung: _Rung) -> None:
        """Decide at a rung, trial by trial in order, as far as their results are known."""
        while rung.next < len(self._standings):
            standing = self._standings[rung.next]
            if not standing.settled:
                if len(standing.values) <= level:
                    return
                self._pass_or_stop(rung.next, rung, level)
            rung.next += 1

    def _pass_or_stop(self, number: int, rung: _Rung, level: int) -> None:
        standing = self._standings[number]
        value = standing.values[level]
        assert value is not None
        bisect.insort(rung.values, value)
        assert self._asha is not None
        if bisect.bisect_left(rung.values, value) < math.ceil(len(rung.values) / self._asha.reduction):
            standing.leg = level + 1
            # The farther, the earlier; then by number.
            heapq.heappush(self._promoted, (-standing.leg, number))
            self._rungs.setdefault(standing.leg, _Rung())
        else:
            standing.stopped = True
            self._settle(standing)

    def _settle(self, standing: Standing) -> None:
        standing.settled = True
        self._new.append(standing)

    def _leg(self, number: int) -> Leg:
        standing = self._standings[number]
        standing.until = self._ends(standing.trial)[standing.leg]
        return Leg(number, standing.trial, standing.until)

    def _ends(self, trial: Trial) -> list[int]:
        return [trial.budget] if self._asha is None else self._asha.rungs(trial.budget)


@dataclass
class _Rung:
    """Where decisions have come to at one rung."""

    next: int = 0
    """Number of the trial that is decided next."""
    values: list[float] = field(default_factory=list)
    """Of the trials before it that came here, in ascending order."""
