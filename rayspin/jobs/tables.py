"""Tables as lists of rows: selection, means, CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV text. All rows have the keys of the first row, which become the header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def where(rows: Sequence[dict[str, Any]], **values: Any) -> list[dict[str, Any]]:
    """Return the rows that have these values in these columns."""
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


def mean(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    """Return the mean of a column; NaN without rows."""
    return sum(float(row[column]) for row in rows) / len(rows) if rows else math.nan
