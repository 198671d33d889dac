"""The ledger of an evaluation: the results of each finished share, as lines of JSON in the folder of the run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from rayspin.rundir import Natural, RunDir, Table, append_lines, read_entries

Row: TypeAlias = dict[str, Any]
"""A row of results by column: numbers and names."""
Share: TypeAlias = tuple[int, int]
"""A batch of samples: (position of the first sample in the split, number of samples)."""

NAME = "shares.jsonl"
"""Name of the ledger in the folder of a run."""


@dataclass(frozen=True)
class MeasuredShare:
    """The results of a share.

    Attributes:
        rows: rows of results.
        seconds: wall time, s.
    """

    rows: list[Row]
    seconds: float


@dataclass(frozen=True)
class _Entry:
    """A line of the ledger.

    Attributes:
        first: position of the first sample in the split.
        count: number of samples.
        digest: digest of the inputs.
        columns: names of the columns of the results.
        rows: rows of results.
    """

    first: Natural
    count: Natural
    digest: str
    columns: list[str]
    rows: list[list[Any]]

    def __post_init__(self) -> None:
        if not self.rows or any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("rows of another length")


class ShareLedger:
    """The finished shares of an evaluation.

    Args:
        folder: folder of the run.
        digest: digest of the weights and the dataset. Results of others, which were replaced while the run was stopped,
            are ignored.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self._path, self._digest = folder / NAME, digest

    def read(self) -> dict[Share, list[Row]]:
        """Return the rows of each finished share."""
        entries = (entry for entry in read_entries(self._path, _Entry) if entry.digest == self._digest)
        return {(entry.first, entry.count): _rows(entry) for entry in entries}

    def append(self, share: Share, measured: MeasuredShare) -> None:
        """Enter the results of a finished share.

        Raises:
            MachineError: the file cannot be written.
        """
        first, count = share
        columns = list(measured.rows[0])
        entry = {
            "entered": datetime.now().astimezone().isoformat(timespec="seconds"),
            "first": first,
            "count": count,
            "digest": self._digest,
            "seconds": measured.seconds,
            "columns": columns,
            "rows": [[row[name] for name in columns] for row in measured.rows],
        }
        append_lines(self._path, [entry])


def progress(run: RunDir, job: Table) -> dict[str, str]:
    """Return the row of `rayspin status`: how many samples are done.

    Args:
        run: folder of the run.
        job: resolved job of the folder.
    """
    done = sum({entry.first: entry.count for entry in read_entries(run.path / NAME, _Entry)}.values())
    return {"samples": f"{done} of {job.get('samples', 'all')} done"}


def _rows(entry: _Entry) -> list[Row]:
    return [dict(zip(entry.columns, values)) for values in entry.rows]
