"""Events of a job, recorded in its folder: sites limit queries of the scheduler, which also forgets ended jobs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rayspin.rundir import append_lines, read_lines

_FILE = "events.jsonl"


def record_event(folder: Path, event: str, **facts: object) -> None:
    """Append an event with the current time to the events of a job.

    Args:
        folder: folder of the job, created if needed.
        event: name of the event.
        **facts: further values of the event, which JSON can hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    append_lines(folder / _FILE, [{"time": round(time.time(), 1), "event": event, **facts}], durably=False)


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return all events of a job, oldest first. Incomplete lines and lines of other formats are skipped."""
    return [entry for entry in read_lines(folder / _FILE) if {"time", "event"} <= entry.keys()]
