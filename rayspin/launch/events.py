"""The events of a job, told in its own folder: asking the scheduler often is rude, and it forgets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rayspin.rundir import append_lines, read_lines

_FILE = "events.jsonl"


def record_event(folder: Path, event: str, **facts: object) -> None:
    """Add a line: when, what, and the facts that go with it."""
    folder.mkdir(parents=True, exist_ok=True)
    append_lines(folder / _FILE, [{"time": round(time.time(), 1), "event": event, **facts}], durably=False)


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All that was told so far, the oldest first; a torn line, or one of another kind, is passed over."""
    return [entry for entry in read_lines(folder / _FILE) if {"time", "event"} <= entry.keys()]
