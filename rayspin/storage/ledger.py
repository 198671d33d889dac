"""The ledger of a dataset: one line for each shard that is in place, with its digests, who made it, when and how fast.

A run that works alone appends to `ledger.jsonl`. Tasks of an array append to a file each (`ledger-*.jsonl`): over NFS
an append is a write at the end that this client knows of, so two nodes that append to one file overwrite each other,
and a lock for each line would cost a round trip and trust in locks. Readers take all files together; the next process
that has the folder alone folds them into one (`merge`).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rayspin.rundir import append_lines, read_lines, write_text

LEDGER = "ledger.jsonl"
_PARTS = "ledger-*.jsonl"

Entry = dict[str, Any]


def own_ledger() -> str:
    """The name of a ledger that this process alone appends to."""
    return f"ledger-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line to the ledger at `path`, durably, with the time.

    Raises:
        MachineError: the system refuses to write.
    """
    entered = datetime.now().astimezone().isoformat(timespec="seconds")
    append_lines(path, [{"entered": entered, **entry}])


def entries(folder: Path) -> Iterator[Entry]:
    """Every entry of the dataset's ledgers; those of one file in the order of entry. Torn lines are passed over."""
    for path in (folder / LEDGER, *sorted(folder.glob(_PARTS))):
        yield from (entry for entry in read_lines(path) if "first_sample" in entry)


def begun(folder: Path) -> bool:
    """Whether the folder has a ledger."""
    return (folder / LEDGER).is_file() or any(folder.glob(_PARTS))


def merge(folder: Path) -> None:
    """Fold the tasks' ledgers into one; for a process that has the folder alone.

    A kill on the way leaves entries twice at most, and they say the same.
    """
    parts = sorted(folder.glob(_PARTS))
    if parts:
        lines = [json.dumps(entry) + "\n" for entry in entries(folder)]
        write_text(folder / LEDGER, "".join(lines))
        for path in parts:
            path.unlink()
