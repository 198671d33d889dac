"""Whether a job gets anywhere: one that is requeued again and again without progress must end with a word."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from rayspin.errors import RunError
from rayspin.launch.events import read_events


def progress_mark(out: Path) -> str:
    """A text that changes whenever the run in `out` has got further.

    A run gets further by lines (ledgers of shards, curves of losses, trials), by checkpoints, and by stages that end.
    """
    signs = []
    for folder, folders, files in os.walk(out):
        folders[:] = sorted(name for name in folders if name != "submissions")
        for name in sorted(files):
            path = Path(folder, name)
            if name.endswith((".jsonl", ".pt")) or name == "summary.json":
                facts = path.stat()
                # A curve is written anew, with the same lines, when a training goes on; a checkpoint never is.
                signs.append((str(path), facts.st_size, facts.st_mtime_ns if name.endswith(".pt") else 0))
    return hashlib.sha256(repr(signs).encode()).hexdigest()[:16]


def check_progress(folder: Path, mark: str, limit: int) -> None:
    """Refuse to go on if the last attempts, `limit` of them, all started where the run is now.

    Args:
        folder: of the job's events.
        mark: of the run as it is now.
        limit: how many attempts in a row may make no progress.

    Raises:
        RunError: that many were.
    """
    marks = [entry.get("mark") for entry in read_events(folder) if entry["event"] == "started"]
    if len(marks) >= limit and set(marks[-limit:]) == {mark}:
        raise RunError(
            "job",
            f"{limit} attempts in a row made no progress",
            f"see the logs in {folder}; give it more time or smaller pieces of work, and submit again to go on",
        )
