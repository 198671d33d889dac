"""The ledger of a dataset: one line for each shard that is in place, with its digests, who made it, when and how fast.

Each line carries a checksum of itself and of the job, and the job's text has a line, too: so whatever happens to a file
of the dataset, the ledger and the job among them, is found out (`rayspin verify`).

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
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rayspin.inputs import MissingFileError, read_bytes
from rayspin.rundir import append_lines, numbered_lines, write_text
from rayspin.storage.shards import ShardRecord

LEDGER = "ledger.jsonl"
JOB = "job.toml"
_PARTS = "ledger-*.jsonl"
_CHECK = "crc32"

_TEXTS = ("entered", "job", "text", "host", "made_with", "note")
"""What else an entry may tell, beside seconds."""

_LARGEST_JOB = 2**24
_MENDED = "rayspin repair puts the job back once that is out of the way"

Entry = dict[str, Any]


def own_ledger() -> str:
    """The name of a ledger that this process alone appends to."""
    return f"ledger-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"


def append(path: Path, *entries: Mapping[str, Any]) -> None:
    """Add a line for each entry to the ledger at `path`, durably and in one go, with the time.

    Raises:
        MachineError: the system refuses to write.
    """
    entered = datetime.now().astimezone().isoformat(timespec="seconds")
    append_lines(path, [_checked({"entered": entered, **entry}) for entry in entries])


def entries(folder: Path) -> Iterator[Entry]:
    """The entry of every shard in the dataset's ledgers; those of one file in the order of entry. Without bad lines.

    Raises:
        InputError: a ledger is no regular file; so it is for all that read ledgers or the job.
    """
    return (entry for _, _, entry in _lines(folder) if entry is not None and "text" not in entry)


def bad_lines(folder: Path) -> list[tuple[str, int]]:
    """File and number of each line that is not what was written: torn by a kill or a crash, or changed since."""
    return [(path.name, number) for path, number, entry in _lines(folder) if entry is None]


def jobs(folder: Path) -> list[str]:
    """The texts of the jobs that the dataset was made by: of several, the later ones only ask for more."""
    return [entry["text"] for _, _, entry in _lines(folder) if entry is not None and "text" in entry]


def job_text(folder: Path) -> str | None:
    """The text of the dataset's job: of its file, or the last that the ledger has if the file is not what was written.

    None if neither file nor ledger has one.
    """
    text = read_job(folder)
    if text is not None and knows_job(folder, text):
        return text
    return next(reversed(jobs(folder)), text)


def knows_job(folder: Path, text: str) -> bool:
    """Whether a job of this text has a line in the ledger, or a shard of its own there."""
    mark = checksum(text)
    return any(entry.get("job") == mark for _, _, entry in _lines(folder) if entry is not None)


def read_job(folder: Path) -> str | None:
    """The text of `job.toml`, None without the file. What is no text in it becomes text that nobody wrote."""
    try:
        return read_bytes(folder / JOB, limit=_LARGEST_JOB, remedy=_MENDED).decode(errors="replace")
    except MissingFileError:
        return None


def new_job(folder: Path) -> list[Entry]:
    """The entry for the folder's job; none if a ledger has it."""
    text = read_job(folder)
    return [] if text is None or text in jobs(folder) else [{"job": checksum(text), "text": text}]


def checksum(text: str) -> str:
    """CRC-32 of a text, in hex: finds any change of one bit, or of up to 32 bits in a row."""
    return f"{zlib.crc32(text.encode()):08x}"


def begun(folder: Path) -> bool:
    """Whether the folder has a ledger."""
    return (folder / LEDGER).is_file() or any(folder.glob(_PARTS))


def merge(folder: Path) -> None:
    """Fold the tasks' ledgers into one, and drop bad lines; for a process that has the folder alone.

    A kill on the way leaves entries twice at most, and they say the same.
    """
    parts = sorted(folder.glob(_PARTS))
    lines = [entry for _, _, entry in _lines(folder)]
    if parts or None in lines:
        sound = (entry for entry in lines if entry is not None)
        write_text(folder / LEDGER, "".join(json.dumps(_checked(entry)) + "\n" for entry in sound))
        for path in parts:
            path.unlink()


def _lines(folder: Path) -> Iterator[tuple[Path, int, Entry | None]]:
    """Every line of the ledgers with its file and number; None for one that is not what was written."""
    for path in (folder / LEDGER, *sorted(folder.glob(_PARTS))):
        for number, entry in numbered_lines(path):
            check = None if entry is None else entry.pop(_CHECK, None)
            yield path, number, None if entry is None or check != _check(entry) or not _sound(entry) else entry


def _sound(entry: Entry) -> bool:
    """Whether an entry is one that rayspin writes: a job, or a shard that lies where its first sample says."""
    if not all(isinstance(entry.get(name, ""), str) for name in _TEXTS):
        return False
    if not isinstance(entry.get("seconds", 0.0), int | float):
        return False
    return "text" in entry or ("entered" in entry and ShardRecord.is_in(entry))


def _checked(entry: Entry) -> Entry:
    return {**entry, _CHECK: _check(entry)}


def _check(entry: Entry) -> str:
    return checksum(json.dumps(entry))
