"""The ledger of a reconstruction: a line of JSON for each shard, with its digests and the figures of its fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from rayspin.errors import InputError
from rayspin.rundir import Natural, RunDir, Seconds, Table, append_lines, read_entries
from rayspin.storage import ShardRecord, inspect_shard, shard_name

Row: TypeAlias = dict[str, Any]
"""Figures of a field by name."""
Share: TypeAlias = tuple[int, int]
"""The fields of a shard: (position of the first field, number of fields)."""

NAME = "shards.jsonl"
"""Name of the ledger in the folder of a run."""


@dataclass(frozen=True)
class MadeFields:
    """The result of a worker for a shard that it has written.

    Attributes:
        record: file name, positions and digests of the shard.
        rows: figures of each field.
        seconds: wall time, s.
    """

    record: ShardRecord
    rows: list[Row]
    seconds: float


@dataclass(frozen=True)
class _Entry:
    """A line of the ledger.

    Attributes:
        first: position of the first field.
        digest: digest of the inputs.
        seconds: wall time, s.
        file: name of the file.
        first_sample: number of the first field.
        count: number of fields.
        bytes: size of the file, bytes.
        sha256: digest of the file.
        columns: names of the figures.
        rows: figures of each field.
    """

    first: Natural
    digest: str
    seconds: Seconds
    file: str
    first_sample: Natural
    count: Natural
    bytes: Natural
    sha256: str
    columns: list[str]
    rows: list[list[Any]]

    def __post_init__(self) -> None:
        if self.file != shard_name(self.first_sample):
            raise ValueError("a name of another file")
        if not 0 < self.count == len(self.rows) or any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("rows of another number or length")


class FieldLedger:
    """The finished shards of a reconstruction.

    Args:
        folder: folder of the run.
        digest: digest of all inputs of the fields other than the job file. Shards with another digest are made again.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder, self._digest = folder, digest

    def read(self) -> dict[Share, list[Row]]:
        """Return the rows of each recorded shard whose file has the recorded digest; each file is read in full."""
        found: dict[Share, list[Row]] = {}
        for share, entry in self._entries().items():
            try:
                record = inspect_shard(self._folder / entry.file)
            except InputError:
                continue
            if record.sha256 == entry.sha256:
                found[share] = [dict(zip(entry.columns, values)) for values in entry.rows]
        return found

    def whole(self) -> bool:
        """Return whether the last file of each shard, of any digest, has its recorded size."""
        entries = {entry.file: entry for entry in _entries(self._folder)}
        return all(self._has_size(entry) for entry in entries.values())

    def append(self, share: Share, made: MadeFields) -> None:
        """Enter a finished shard.

        Raises:
            MachineError: the file cannot be written.
        """
        columns = list(made.rows[0])
        entry = {
            "entered": datetime.now().astimezone().isoformat(timespec="seconds"),
            "first": share[0],
            "digest": self._digest,
            "seconds": made.seconds,
            **asdict(made.record),
            "columns": columns,
            "rows": [[row[name] for name in columns] for row in made.rows],
        }
        append_lines(self._folder / NAME, [entry])

    def _entries(self) -> dict[Share, _Entry]:
        entries = (entry for entry in _entries(self._folder) if entry.digest == self._digest)
        return {(entry.first, entry.count): entry for entry in entries}

    def _has_size(self, entry: _Entry) -> bool:
        path = self._folder / entry.file
        return path.is_file() and path.stat().st_size == entry.bytes


def progress(run: RunDir, job: Table) -> dict[str, str]:
    """Return the rows of `rayspin status`: how many fields are done, and their rate.

    Args:
        run: folder of the run.
        job: resolved job of the folder.
    """
    entries = {entry.first: entry for entry in _entries(run.path)}.values()
    count = sum(entry.count for entry in entries)
    rows = {"fields": f"{count} of {job.get('samples', 'all')} done"}
    if entries:
        rows["process-seconds per field"] = f"{sum(entry.seconds for entry in entries) / count:.3g}"
    return rows


def _entries(folder: Path) -> Iterator[_Entry]:
    return read_entries(folder / NAME, _Entry)
