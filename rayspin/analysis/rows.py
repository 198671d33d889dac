"""Tables of measurements, as lists of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy.typing as npt

Row: TypeAlias = dict[str, Any]
"""Values by the name of the column."""


def field_rows(columns: Mapping[str, npt.NDArray[Any]], labels: Mapping[str, Any] | None = None) -> list[Row]:
    """Return one row for each field: the labels, and the field's value in each column, as Python objects.

    Args:
        columns: values (fields,) by name.
        labels: values that all rows have, by name; they come first.
    """
    values = zip(*(column.tolist() for column in columns.values()))
    return [{**(labels or {}), **dict(zip(columns, row))} for row in values]
