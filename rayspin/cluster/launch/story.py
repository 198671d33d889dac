"""The story of a job, told in its own folder: asking the scheduler often is rude, and it forgets."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

_FILE = "events.jsonl"


def tell(folder: Path, event: str, **facts: object) -> None:
    """Add a line: when, what, and the facts that go with it."""
    entry = {"time": round(time.time(), 1), "event": event, **facts}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _FILE).open("ab+") as file:
        # A kill can leave half a line; it must not swallow the next one.
        size = file.tell()
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write(b"\n" * torn + json.dumps(entry).encode() + b"\n")


def read_story(folder: Path) -> list[dict[str, Any]]:
    """All that was told so far, the oldest first; a torn line is passed over."""
    try:
        lines = (folder / _FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    story = []
    for line in lines:
        try:
            story.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return story
