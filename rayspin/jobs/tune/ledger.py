"""The ledger of a sweep: one line for everything that happened, written by the driver alone.

It is the truth about a sweep: which trials there are, what each part of them ended with, what failed and why. Progress,
status and table come from it without a look at the trials' folders, so they are quick for ten thousand trials.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rayspin.jobs.tune.outcomes import Failed, Figures, Finished
from rayspin.jobs.tune.schedulers import Segment
from rayspin.jobs.tune.space import label
from rayspin.jobs.tune.trials import Trial
from rayspin.rundir import append_lines, read_lines

LEDGER = "trials.jsonl"


@dataclass
class Entry:
    """What the ledger says of one trial."""

    point: dict[str, Any]
    results: dict[int, Figures] = field(default_factory=dict)
    """The figures after so many epochs or samples."""
    epochs: dict[int, int] = field(default_factory=dict)
    """How many were really done by then: a training may run out of patience."""
    error: str = ""
    """Why it failed when it was last tried."""
    started: int = 0
    """The end of the segment that it was last sent on; 0 when it is back."""
    ended: str = ""
    """How it left the sweep: "done", "stopped" or "failed"; empty while it is under way."""

    @property
    def label(self) -> str:
        """The point as people read it."""
        return label(self.point)


class Ledger:
    """The ledger in a sweep's folder, read once and kept up by what this process adds."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEDGER
        self.trials: dict[str, Entry] = {}
        self.order: list[tuple[str, int]] = []
        """The results in the order of their coming in: (trial, until)."""
        self.seconds = 0.0
        """Core time of all results."""
        self.last = ""
        """When the last entry was made."""
        for line in read_lines(self._path):
            self._take(line)

    def plan(self, trials: Iterable[Trial]) -> None:
        """Enter trials that are not there yet."""
        new = [trial for trial in trials if trial.name not in self.trials]
        self._append([{"event": "planned", "trial": trial.name, "point": dict(trial.point)} for trial in new])

    def start(self, segment: Segment) -> None:
        """A segment was given out."""
        self._append([{"event": "started", "trial": segment.trial.name, "until": segment.until}], durably=False)

    def record(self, segment: Segment, outcome: Finished | Failed) -> None:
        """Record how a segment ended."""
        event = "failed" if isinstance(outcome, Failed) else "result"
        fields = {key: value for key, value in asdict(outcome).items() if value not in (None, "")}
        self._append([{"event": event, "trial": segment.trial.name, "until": segment.until, **fields}])

    def end(self, trial: Trial, how: str) -> None:
        """Nothing of a trial is left to run."""
        if self.trials[trial.name].ended != how:
            self._append([{"event": "ended", "trial": trial.name, "how": how}], durably=False)

    def result(self, segment: Segment) -> Figures | None:
        """The figures at the end of a segment, if it was run."""
        entry = self.trials.get(segment.trial.name)
        return None if entry is None else entry.results.get(segment.until)

    def best(self, metric: str, *, most: bool) -> tuple[str, float] | None:
        """The trial with the least, or the most, of a figure in any result, and that value; None if none has it."""
        sign = -1 if most else 1
        values = [
            (sign * value, name)
            for name, entry in self.trials.items()
            for figures in entry.results.values()
            if math.isfinite(value := figures.get(metric, math.nan))
        ]
        return (min(values)[1], sign * min(values)[0]) if values else None

    def has(self, trial: Trial) -> bool:
        """Whether a trial has ended, and not failed."""
        return self.state(trial) in {"done", "stopped"}

    def state(self, trial: Trial) -> str:
        """How a trial left the sweep, or "waiting"."""
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
