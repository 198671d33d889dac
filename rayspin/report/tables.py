"""Tables that runs write as CSV, and means over their rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rayspin.inputs import RECORD_BYTES, MissingFileError, read_text
from rayspin.jobs.tables import mean, where
from rayspin.report.charts import Curve

Row = dict[str, Any]

LABELS = frozenset({"case", "damage", "dataset", "estimator", "method", "quantity", "suspect"})
"""Columns of the tables that hold names, some of them chosen by users; the others hold numbers."""


def read_csv(path: Path) -> list[Row]:
    """Return the rows of a CSV file; all columns other than `LABELS` are converted to numbers, where they have a value.

    A missing file has no rows.

    Raises:
        InputError: the file is not text.
    """
    try:
        text = read_text(path, limit=RECORD_BYTES, remedy="run the job again in a new folder")
    except MissingFileError:
        return []
    rows = csv.DictReader(io.StringIO(text))
    return [{name: value if name in LABELS else _value(value) for name, value in row.items()} for row in rows]


def names(rows: Sequence[Row], column: str) -> list[Any]:
    """Return the different values of a column in order of appearance."""
    return list(dict.fromkeys(row[column] for row in rows))


def mean_curve(rows: list[Row], x: str, y: str) -> Curve:
    """Return the mean of column `y` at each value of column `x`."""
    places = sorted(set(names(rows, x)))
    return places, [mean(where(rows, **{x: place}), y) for place in places]


def _value(text: str | None) -> Any:
    for convert in (int, float):
        try:
            return convert(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
    return text
