"""Detection of progress between attempts: a job that is requeued repeatedly without progress must fail."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from rayspin.errors import RunError
from rayspin.launch.events import Started, read_events


def progress_mark(out: Path) -> str:
    """Return a hash that changes whenever the run in the folder `out` makes progress.

    Progress is made by lines in ledgers of shards and trials or in loss curves, by checkpoints, and by stages that end.
    """
    signs = []
    for folder, folders, files in os.walk(out):
        folders[:] = sorted(name for name in folders if name != "submissions")
        for name in sorted(files):
            path = Path(folder, name)
            if name.endswith((".jsonl", ".pt")) or name == "summary.json":
                facts = path.stat()
                # A resumed training rewrites its curves with the same lines, so only sizes count for them. Checkpoints
                # are never rewritten without progress, so for these the time counts too.
                signs.append((str(path), facts.st_size, facts.st_mtime_ns if name.endswith(".pt") else 0))
    return hashlib.sha256(repr(signs).encode()).hexdigest()[:16]


def check_progress(folder: Path, mark: str, limit: int) -> None:
    """Check that at least one of the last `limit` attempts made progress.

    Args:
        folder: folder of the job's events.
        mark: current progress mark of the run.
        limit: number of attempts in a row without progress after which the job fails.

    Raises:
        RunError: the last `limit` attempts all started with the same mark as the current one.
    """
    marks = [event.mark for event in read_events(folder) if isinstance(event, Started)]
    if len(marks) >= limit and set(marks[-limit:]) == {mark}:
        raise RunError(
            "job",
            f"{limit} attempts in a row made no progress",
            f"see the logs in {folder}; use a longer walltime or smaller work items, then submit again to resume",
        )
