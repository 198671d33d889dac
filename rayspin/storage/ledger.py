"""The ledger of a dataset: one line for each finished shard, with its digests, host, time and duration.

Each line carries a checksum of itself and of the job, and a separate line holds the text of the job. `rayspin verify`
therefore detects changes to any file of the dataset, including the ledger and the job.

A single process appends to `ledger.jsonl`. Each task of a Slurm array appends to a file of its own (`ledger-*.jsonl`):
an NFS client appends at the end of the file as it knows it, so two nodes that append to one file overwrite each other's
lines, and locking each line would cost a round trip and depend on working locks. Readers read all of these files; the
next process that has exclusive use of the folder merges them into one (`merge`).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from rayspin.inputs import MissingFileError, read_bytes
from rayspin.rundir import append_lines, numbered_lines, write_text
from rayspin.storage.shards import ShardRecord

LEDGER = "ledger.jsonl"
JOB = "job.toml"
_PARTS = "ledger-*.jsonl"
_CHECK = "crc32"

_TEXTS = ("entered", "job", "text", "host", "made_with", "note")
"""Optional text fields of an entry."""

_LARGEST_JOB = 2**24
_MENDED = "move it elsewhere, then restore the job with rayspin repair"

Entry = dict[str, Any]

_State: TypeAlias = tuple[tuple[str, int, int, int], ...]
_RECORD = tuple(ShardRecord.__dataclass_fields__)
_SETTLED_NS = 100_000_000
"""Time after a change of a file at which a second change has another time of modification."""


def own_ledger() -> str:
    """A new ledger file name for the exclusive use of this process."""
    return f"ledger-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"


def append(path: Path, *entries: Mapping[str, Any]) -> None:
    """Append a line for each entry to a ledger in one write, with the current time, and sync it to disk.

    Args:
        path: the ledger file.
        entries: the entries, without time and checksum.

    Raises:
        MachineError: the system refuses to write.
    """
    entered = datetime.now().astimezone().isoformat(timespec="seconds")
    append_lines(path, [_checked({"entered": entered, **entry}) for entry in entries])


class LedgerWriter:
    """Records finished shards in a ledger of a dataset, together with the job if no ledger has it yet.

    Args:
        folder: the dataset folder.
        name: file name of the ledger; each task of an array has its own.
    """

    def __init__(self, folder: Path, name: str = LEDGER) -> None:
        self._folder, self._path = folder, folder / name
        self._job_mark = ""

    def record(self, shard: ShardRecord, **facts: str | float) -> None:
        """Append a shard, durably.

        Args:
            shard: its record.
            facts: where, when and how fast it was made.

        Raises:
            MachineError: the system refuses to write.
        """
        job: list[Entry] = []
        if not self._job_mark:
            text = read_job(self._folder)
            job = _unrecorded(self._folder, text)
            self._job_mark = checksum(text or "")
        append(self._path, *job, {**asdict(shard), "job": self._job_mark, **facts})


def entries(folder: Path) -> Iterator[Entry]:
    """The valid entries of shards in all ledgers of the dataset; those of one file are in the order written.

    Like every function of this module that reads, it raises InputError for a ledger or job that is not a regular file.

    Args:
        folder: the dataset folder.

    Raises:
        InputError: a ledger is not a regular file.
    """
    return (entry for _, _, entry in _lines(folder) if entry is not None and "text" not in entry)


@dataclass(frozen=True)
class Contents:
    """What the ledgers of a dataset say.

    Attributes:
        records: the last record of each shard, in the order of the samples.
        jobs: the texts of all jobs that generated the dataset; the later ones request more samples.
        job_marks: checksums of the jobs of shards.
        made_with: the package versions that the shards were made with.
        damaged: file name and line number of each damaged line: incomplete after a kill or a crash, or changed later.
    """

    records: tuple[ShardRecord, ...]
    jobs: tuple[str, ...]
    job_marks: frozenset[str]
    made_with: frozenset[str]
    damaged: tuple[tuple[str, int], ...]


def contents(folder: Path) -> Contents:
    """What the ledgers of a dataset say; they are parsed once as long as they do not change.

    Args:
        folder: the dataset folder.

    Raises:
        InputError: a ledger is not a regular file.
    """
    global _parsed
    state = _state(folder)
    if _parsed is not None and _parsed[0] == state:
        return _parsed[1]
    found = _parse(folder)
    # A change within the resolution of file times could go unnoticed.
    settled = max((modified for *_, modified in state), default=0) < time.time_ns() - _SETTLED_NS
    _parsed = (state, found) if settled and state == _state(folder) else None
    return found


_parsed: tuple[_State, Contents] | None = None


def _state(folder: Path) -> _State:
    """Path, inode, size and time of modification (ns) of each ledger of a dataset."""
    found = []
    for path in (folder / LEDGER, *sorted(folder.glob(_PARTS))):
        with suppress(OSError):
            status = path.stat()
            found.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _parse(folder: Path) -> Contents:
    records: dict[int, ShardRecord] = {}
    jobs: list[str] = []
    marks, made_with = set(), set()
    damaged = []
    for path, number, entry in _lines(folder):
        if entry is None:
            damaged.append((path.name, number))
            continue
        marks.add(entry.get("job", ""))
        if "text" in entry:
            jobs.append(entry["text"])
        else:
            records[entry["first_sample"]] = ShardRecord(**{name: entry[name] for name in _RECORD})
            made_with.add(str(entry.get("made_with")))
    in_order = tuple(records[first] for first in sorted(records))
    return Contents(in_order, tuple(jobs), frozenset(marks), frozenset(made_with), tuple(damaged))


def job_text(folder: Path) -> str | None:
    """The text of the dataset's job: from `job.toml`, or the last in the ledger if the ledger doesn't know the file.

    None if neither the file nor the ledger holds one.
    """
    text = read_job(folder)
    if text is not None and knows_job(folder, text):
        return text
    return next(reversed(contents(folder).jobs), text)


def knows_job(folder: Path, text: str) -> bool:
    """Whether the ledger has a line with the text of this job, or records a shard that it generated."""
    return checksum(text) in contents(folder).job_marks


def read_job(folder: Path) -> str | None:
    """The text of `job.toml`, or None without the file; invalid UTF-8 is decoded with replacement characters."""
    try:
        return read_bytes(folder / JOB, limit=_LARGEST_JOB, remedy=_MENDED).decode(errors="replace")
    except MissingFileError:
        return None


def new_job(folder: Path) -> list[Entry]:
    """The entry that records the folder's job, in a list; empty if there is no job or a ledger already has it."""
    return _unrecorded(folder, read_job(folder))


def _unrecorded(folder: Path, text: str | None) -> list[Entry]:
    return [] if text is None or text in contents(folder).jobs else [{"job": checksum(text), "text": text}]


def checksum(text: str) -> str:
    """CRC-32 of a text, in hexadecimal; it detects any change of one bit, or of up to 32 consecutive bits."""
    return f"{zlib.crc32(text.encode()):08x}"


def begun(folder: Path) -> bool:
    """Whether the folder has a ledger."""
    return (folder / LEDGER).is_file() or any(folder.glob(_PARTS))


def merge(folder: Path) -> None:
    """Merge the ledgers of array tasks into one and drop damaged lines; needs exclusive use of the folder.

    If the process is killed meanwhile, some entries may exist twice, with the same content.

    Args:
        folder: the dataset folder.

    Raises:
        InputError: a ledger is not a regular file.
        MachineError: the system refuses to write.
    """
    parts = sorted(folder.glob(_PARTS))
    if parts or contents(folder).damaged:
        sound = [entry for _, _, entry in _lines(folder) if entry is not None]
        write_text(folder / LEDGER, "".join(json.dumps(_checked(entry)) + "\n" for entry in sound))
        for path in parts:
            path.unlink()


def _lines(folder: Path) -> Iterator[tuple[Path, int, Entry | None]]:
    """File, line number and entry of every line of the ledgers; the entry is None if the line is damaged."""
    for path in (folder / LEDGER, *sorted(folder.glob(_PARTS))):
        for number, entry in numbered_lines(path):
            check = None if entry is None else entry.pop(_CHECK, None)
            yield path, number, None if entry is None or check != _check(entry) or not _sound(entry) else entry


def _sound(entry: Entry) -> bool:
    """Whether an entry is one that rayspin writes: a job, or a shard whose file name matches its first sample."""
    if not all(isinstance(entry.get(name, ""), str) for name in _TEXTS):
        return False
    if not isinstance(entry.get("seconds", 0.0), int | float):
        return False
    return "text" in entry or ("entered" in entry and ShardRecord.is_in(entry))


def _checked(entry: Entry) -> Entry:
    return {**entry, _CHECK: _check(entry)}


def _check(entry: Entry) -> str:
    return checksum(json.dumps(entry))
