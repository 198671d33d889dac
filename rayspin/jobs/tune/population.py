"""Population-based training (Jaderberg et al., arXiv:1711.09846), generation by generation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rayspin.jobs.tune.schedulers import Segment, TrialState
from rayspin.jobs.tune.search import Population
from rayspin.jobs.tune.space import Axis, Integers, SearchPoint, Values, drawn
from rayspin.jobs.tune.trials import Trial, TrialBuilder
from rayspin.rng import generator

Branch = Callable[[Trial, Trial, int], None]
"""Function (child, parent, epochs) that gives the child the state of its parent after that number of epochs."""

STEP = 1.2
"""Factor by which a perturbed setting is multiplied or divided, as in the paper."""


class PopulationScheduler:
    """Trains all members in parallel; after each interval, branches of the best members replace the worst ones.

    A branch is a new trial that continues from the state of its parent with changed settings. Members are compared only
    when all of them have finished the interval. Therefore, replacements depend only on the results, and the state of a
    parent is not overwritten before it is copied.

    Args:
        search: size of the population, interval and rates of replacement.
        space: axes of the search space by dotted key.
        maker: builds the trials.
        branch: called for each new branch.
    """

    def __init__(self, search: Population, space: Mapping[str, Axis], maker: TrialBuilder, branch: Branch) -> None:
        self._search, self._space, self._maker, self._branch = search, space, maker, branch
        trials = [maker.trial(drawn(space, search.seed, number)) for number in range(search.members)]
        self._states = [TrialState(trial) for trial in trials]
        self._members = list(range(search.members))
        self._generation = 1
        self._ready = list(reversed(self._members))
        self._under_way = len(self._members)
        self._new: list[TrialState] = []

    @property
    def count(self) -> int:
        """Number of members and branches so far."""
        return len(self._states)

    @property
    def ended(self) -> bool:
        """Whether every member has finished all epochs."""
        return not self._under_way

    def next(self) -> Segment | None:
        """Return the segment of the next member in this generation, or None if all have been given out."""
        if not self._ready:
            return None
        number = self._ready.pop()
        self._states[number].until = self._until
        return Segment(number, self._states[number].trial, self._until)

    def tell(self, segment: Segment, value: float | None) -> None:
        """Take the metric at the end of a segment (smaller is better; None if it failed).

        The last result of a generation starts the next generation.
        """
        state = self._states[segment.number]
        state.values.append(value)
        self._under_way -= 1
        if self._under_way:
            return
        if self._until == state.trial.budget:
            for number in self._members:
                self._settle(self._states[number])
        else:
            self._next_generation()

    def trial_states(self) -> list[TrialState]:
        """Return the states of all members and branches, in the order in which they were created."""
        return self._states

    def newly_settled(self) -> list[TrialState]:
        """Return the trials that have ended since the last call."""
        new, self._new = self._new, []
        return new

    def _settle(self, state: TrialState) -> None:
        state.settled = True
        self._new.append(state)

    @property
    def _until(self) -> int:
        return min(self._generation * self._search.interval, self._states[0].trial.budget)

    def _next_generation(self) -> None:
        ranked = sorted(range(len(self._members)), key=lambda place: (self._value(place), place))
        able = [place for place in ranked if self._value(place) < math.inf]
        replaced = max(math.floor(len(ranked) * self._search.quantile), len(ranked) - len(able))
        best = able[: max(1, math.floor(len(ranked) * self._search.quantile))]
        for index, place in enumerate(ranked[len(ranked) - replaced :]):
            old = self._states[self._members[place]]
            old.stopped = True
            self._settle(old)
            if best:
                self._members[place] = self._branched(best[index % len(best)], place)
        self._generation += 1
        self._ready = sorted((n for n in self._members if not self._states[n].settled), reverse=True)
        self._under_way = len(self._ready)

    def _branched(self, best: int, place: int) -> int:
        parent = self._states[self._members[best]].trial
        child = self._maker.trial(self._moved(parent.point, place), (parent.name, self._until))
        self._branch(child, parent, self._until)
        self._states.append(TrialState(child))
        return len(self._states) - 1

    def _moved(self, point: SearchPoint, place: int) -> SearchPoint:
        """Return a point in which every setting is multiplied or divided by `STEP`, or drawn again from its axis."""
        address = (self._search.seed, self._generation, place)
        moved = []
        for key, value in point:
            anew, quantile, up = (float(draw) for draw in generator(f"sweep {key}", address).random(3))
            axis = self._space[key]
            moved.append((key, axis.at(quantile) if anew < self._search.resample else _stepped(axis, value, up < 0.5)))
        return tuple(moved)

    def _value(self, place: int) -> float:
        value = self._states[self._members[place]].values[-1]
        return math.inf if value is None or math.isnan(value) else value


def _stepped(axis: Axis, value: object, up: bool) -> object:
    if isinstance(axis, Values):
        place = axis.values.index(value) + (1 if up else -1)
        return axis.values[min(max(place, 0), len(axis.values) - 1)]
    assert isinstance(value, int | float)
    low, high = axis.ends
    moved = min(max(value * STEP if up else value / STEP, low), high)
    return round(moved) if isinstance(axis, Integers) else moved
