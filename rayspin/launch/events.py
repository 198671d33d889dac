"""Events of a job, recorded in its folder: sites limit queries of the scheduler, which also forgets ended jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from rayspin.launch.exit_codes import BAD_INPUT, DONE, FAILED, INCOMPLETE
from rayspin.rundir import append_lines, read_lines

_FILE = "events.jsonl"

ENDS = {DONE: "done", FAILED: "failed", BAD_INPUT: "refused", INCOMPLETE: "stopped"}
"""How a job ended, by its exit code."""


@dataclass(frozen=True, kw_only=True)
class _OfAttempt:
    """Base class of the events of one attempt.

    Attributes:
        attempt: number of times that the job was requeued before.
    """

    attempt: int = 0


@dataclass(frozen=True, kw_only=True)
class Started(_OfAttempt):
    """The first task has started.

    Attributes:
        host: host name of the task.
        process: process ID of the task.
        nodes: number of nodes of the job.
        mark: progress mark of the run, see `progress_mark`.
    """

    host: str
    process: int
    nodes: int
    mark: str

    def __str__(self) -> str:
        again = f", attempt {self.attempt + 1}" if self.attempt else ""
        return f"started on {self.host} with {self.nodes} nodes{again}"


@dataclass(frozen=True, kw_only=True)
class Ready(_OfAttempt):
    """The Ray cluster is up.

    Attributes:
        hosts: host names of the nodes, the first task's first.
        seconds: time since the start of the first task, s.
    """

    hosts: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        return f"Ray was up on {', '.join(self.hosts)} after {self.seconds} s"


@dataclass(frozen=True, kw_only=True)
class Lost(_OfAttempt):
    """The connection to a node was lost.

    Attributes:
        host: host name of the node.
    """

    host: str

    def __str__(self) -> str:
        return f"lost node {self.host}"


@dataclass(frozen=True, kw_only=True)
class Draining(_OfAttempt):
    """The run was asked to stop.

    Attributes:
        reason: "walltime" if the walltime is near, or "stop" for a signal to stop.
    """

    reason: str

    def __str__(self) -> str:
        return "draining before the walltime" if self.reason == "walltime" else "stop requested"


@dataclass(frozen=True, kw_only=True)
class Requeued(_OfAttempt):
    """Another attempt of the job was requested."""

    def __str__(self) -> str:
        return f"requeued ({self.attempt + 1} times so far)" if self.attempt else "requeued"


@dataclass(frozen=True, kw_only=True)
class Ended(_OfAttempt):
    """The attempt ended.

    Attributes:
        code: exit code of the first task.
        problem: error message; empty if there is none, or if the run printed it.
    """

    code: int
    problem: str = ""

    def __str__(self) -> str:
        return f"{ENDS.get(self.code, ENDS[FAILED])}{': ' + self.problem if self.problem else ''}"


@dataclass(frozen=True)
class Cancelled:
    """The job was canceled with `rayspin cancel`."""

    def __str__(self) -> str:
        return "canceled"


Event: TypeAlias = Started | Ready | Lost | Draining | Requeued | Ended | Cancelled

_TYPES: dict[str, type[Any]] = {
    kind.__name__.lower(): kind for kind in (Started, Ready, Lost, Draining, Requeued, Ended, Cancelled)
}


def record_event(folder: Path, event: Event) -> None:
    """Append an event with the current time to the events of a job.

    Args:
        folder: folder of the job, created if needed.
        event: the event.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = type(event).__name__.lower()
    append_lines(folder / _FILE, [{"time": round(time.time(), 1), "event": name, **asdict(event)}], durably=False)


def read_events(folder: Path) -> list[Event]:
    """Return all events of a job, oldest first. Incomplete lines and lines of other formats are skipped."""
    return [event for _, event in timed_events(folder)]


def timed_events(folder: Path) -> list[tuple[float, Event]]:
    """Return all events of a job with their times in seconds since 1970, oldest first; see `read_events`."""
    timed = ((line.get("time"), _event(line)) for line in read_lines(folder / _FILE))
    return [(when, event) for when, event in timed if event is not None and isinstance(when, int | float)]


def _event(line: Mapping[str, Any]) -> Event | None:
    kind = _TYPES.get(str(line.get("event")))
    if kind is None:
        return None
    known = {field.name: _as_tuple(line[field.name]) for field in fields(kind) if field.name in line}
    try:
        event: Event = kind(**known)
    except TypeError:
        return None
    return event


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
