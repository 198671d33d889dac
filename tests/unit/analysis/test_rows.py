"""Rows of fields keep the order of the columns and the types of their values."""

from __future__ import annotations

import numpy as np

from rayspin.analysis.rows import field_rows


def test_each_field_has_its_value_of_every_column_after_the_labels() -> None:
    columns = {"sample": np.arange(4, 6), "mse": np.array([0.5, 0.25], np.float32), "note": np.array(["a", ""])}
    rows = field_rows(columns, {"scale": 8, "method": "map"})
    assert rows == [
        {"scale": 8, "method": "map", "sample": 4, "mse": 0.5, "note": "a"},
        {"scale": 8, "method": "map", "sample": 5, "mse": 0.25, "note": ""},
    ]
    assert list(rows[0]) == ["scale", "method", "sample", "mse", "note"]
    assert [type(value) for value in rows[0].values()] == [int, str, int, float, str]
    assert field_rows({"mse": np.array([1.0])}) == [{"mse": 1.0}]
