"""The ledger of a sweep: one JSON line for each event, written only by the driver.

It records the trials, the outcome of each segment, and the errors. Progress, status and table are computed from it
without reading the folders of the trials, which keeps them fast for ten thousand trials.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from rayspin.jobs.tune.outcomes import Failed, Figures, Finished
from rayspin.jobs.tune.schedulers import Segment
from rayspin.jobs.tune.space import label
from rayspin.jobs.tune.trials import Trial
from rayspin.rundir import append_lines, read_lines

LEDGER = "trials.jsonl"

_Fields: TypeAlias = Mapping[str, type | tuple[type, ...]]
_EVERY: _Fields = {"trial": str, "entered": str}
_EVENTS: Mapping[str, _Fields] = {
    "planned": {"point": dict},
    "started": {"until": int},
    "result": {"until": int, "figures": dict, "epochs": int, "seconds": (int, float)},
    "failed": {"error": str},
    "ended": {"how": str},
}
"""Types of the fields of each event."""


@dataclass
class Entry:
    """State of one trial in the ledger.

    Attributes:
        point: values of the axes by dotted key.
        results: metrics at the end of each finished segment, by the total number of epochs (or samples) at that end.
        epochs: number of epochs actually done, by the same key; smaller if the patience of a training was exhausted.
        error: error of the last attempt; empty if it succeeded.
        started: end of the running segment (total epochs or samples); 0 if none is running.
        ended: how the trial left the sweep: "done", "stopped" or "failed"; empty while it is in progress.
    """

    point: dict[str, Any]
    results: dict[int, Figures] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    error: str = ""
    started: int = 0
    ended: str = ""

    @property
    def label(self) -> str:
        """The point as text."""
        return label(self.point)


class Ledger:
    """The ledger in the folder of a sweep. It is read once and then updated by the entries of this process.

    Args:
        folder: folder of the sweep.

    Attributes:
        trials: state of each trial by name, in the order in which they were planned.
        order: (trial, end of the segment) of each result, in the order of arrival.
        seconds: total wall time of all results, s.
        last: time of the last entry, ISO 8601.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEDGER
        self.trials: dict[str, Entry] = {}
        self.order: list[tuple[str, int]] = []
        self.seconds = 0.0
        self.last = ""
        for line in read_lines(self._path):
            # A line that was damaged by others is skipped. What it said is then done again.
            if self._fits(line):
                self._take(line)

    def plan(self, trials: Iterable[Trial]) -> None:
        """Record the trials that are not in the ledger yet."""
        new = [trial for trial in trials if trial.name not in self.trials]
        self._append([{"event": "planned", "trial": trial.name, "point": dict(trial.point)} for trial in new])

    def start(self, segment: Segment) -> None:
        """Record that a segment was given out."""
        self._append([{"event": "started", "trial": segment.trial.name, "until": segment.until}], durably=False)

    def record(self, segment: Segment, outcome: Finished | Failed) -> None:
        """Record the outcome of a segment."""
        event = "failed" if isinstance(outcome, Failed) else "result"
        fields = {key: value for key, value in asdict(outcome).items() if value not in (None, "")}
        self._append([{"event": event, "trial": segment.trial.name, "until": segment.until, **fields}])

    def end(self, trial: Trial, how: str) -> None:
        """Record that a trial has left the sweep: `how` is "done", "stopped" or "failed"."""
        if self.trials[trial.name].ended != how:
            self._append([{"event": "ended", "trial": trial.name, "how": how}], durably=False)

    def result(self, segment: Segment) -> Figures | None:
        """Return the metrics at the end of a segment; None if it has not finished."""
        entry = self.trials.get(segment.trial.name)
        return None if entry is None else entry.results.get(segment.until)

    def best(self, metric: str, *, most: bool) -> tuple[str, float] | None:
        """Return (trial, value) of the best value of a metric over all results; None if no result has it.

        Args:
            metric: name of the metric.
            most: maximize instead of minimize.
        """
        sign = -1 if most else 1
        values = [
            (sign * value, name)
            for name, entry in self.trials.items()
            for figures in entry.results.values()
            if math.isfinite(value := figures.get(metric, math.nan))
        ]
        return (min(values)[1], sign * min(values)[0]) if values else None

    def has(self, trial: Trial) -> bool:
        """Return whether a trial has ended without failing."""
        return self.state(trial) in {"done", "stopped"}

    def state(self, trial: Trial) -> str:
        """Return how a trial left the sweep: "done", "stopped" or "failed"; "waiting" if it has not."""
        entry = self.trials.get(trial.name)
        return "waiting" if entry is None or not entry.ended else entry.ended

    def _append(self, entries: list[dict[str, Any]], *, durably: bool = True) -> None:
        if not entries:
            return
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        lines = [{**entry, "entered": now} for entry in entries]
        append_lines(self._path, lines, durably=durably)
        for line in lines:
            self._take(line)

    def _fits(self, line: Mapping[str, Any]) -> bool:
        """Return whether an entry is one that this class writes, and its trial is known."""
        event = str(line.get("event"))
        expected = {**_EVERY, **_EVENTS.get(event, {})}
        if event not in _EVENTS or not all(isinstance(line.get(name), kind) for name, kind in expected.items()):
            return False
        if event == "result" and not all(isinstance(value, int | float) for value in line["figures"].values()):
            return False
        return event == "planned" or line["trial"] in self.trials

    def _take(self, line: Mapping[str, Any]) -> None:
        self.last = line["entered"]
        name = line["trial"]
        if line["event"] == "planned":
            self.trials[name] = Entry(line["point"])
            return
        entry = self.trials[name]
        match line["event"]:
            case "started":
                entry.started, entry.ended = line["until"], ""
            case "result":
                entry.results[line["until"]] = line["figures"]
                entry.epochs[line["until"]] = line["epochs"]
                entry.started, entry.error = 0, ""
                self.order.append((name, line["until"]))
                self.seconds += line["seconds"]
            case "failed":
                entry.started, entry.error = 0, line["error"]
            case "ended":
                entry.started, entry.ended = 0, line["how"]
