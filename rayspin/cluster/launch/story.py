"""The story of a submission, told in its own folder: asking the scheduler often is rude, and it forgets."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

_FILE = "events.jsonl"


def tell(folder: Path, event: str, **facts: object) -> None:
    """Add a line: when, what, and the facts that go with it."""
    entry = {"time": round(time.time(), 1), "event": event, **facts}
    with (folder / _FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def read_story(folder: Path) -> list[dict[str, Any]]:
    """All that was told so far, the oldest first."""
    try:
        return [json.loads(line) for line in (folder / _FILE).read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
