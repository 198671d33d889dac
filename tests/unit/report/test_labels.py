"""Names in the tables of runs stay as they are, also if they look like numbers."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

from rayspin.jobs.tables import as_csv
from rayspin.report import charts, write_report
from rayspin.report.tables import LABELS, read_csv
from tests.support.html_pages import Page

NAMES = ("20", "nan", "inf", "1_000", "1e3", "007", "two\nlines")
"""Names that Python converts to numbers, and one with the end of a line."""


def tables(folder: Path) -> dict[Path, list[dict[str, str]]]:
    """The rows of the tables that evaluations have written to a folder, as text."""
    found = {path: list(csv.DictReader(io.StringIO(path.read_text()))) for path in sorted(folder.rglob("*.csv"))}
    # The tables of sweeps are not read: the report takes their trials from the ledger.
    return {path: rows for path, rows in found.items() if path.name != "trials.csv"}


def labels(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{column: row[column] for column in LABELS & row.keys()} for row in rows]


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_columns_with_names_are_listed(every_kind: Path) -> None:
    found = set()
    for rows in tables(every_kind).values():
        found |= {column for row in rows for column, value in row.items() if value and not is_number(value)}
    assert found <= LABELS
    assert found >= LABELS - {"suspect"}


def test_names_that_look_like_numbers_are_shown_as_they_are(every_kind: Path, tmp_path: Path) -> None:
    folders = []
    for stage in sorted({path.parent for path in tables(every_kind)}):
        folders.append(Path(shutil.copytree(stage, tmp_path / stage.name)))
        new: dict[tuple[str, str], str] = {}
        for path, rows in tables(folders[-1]).items():
            for row in rows:
                for column in LABELS & row.keys():
                    known = sum(name == column for name, _ in new)
                    row[column] = new.setdefault((column, row[column]), NAMES[known])
            path.write_text(as_csv(rows))
            assert labels(read_csv(path)) == labels(rows)
    write_report(folders, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert page.errors == []
    assert set(NAMES[:4]) <= {*page.text("th"), *page.text("caption")}


def test_names_that_are_numbers_are_no_positions_on_the_axis() -> None:
    chart = charts.distributions("", "", {"20": [1.0, 2.0], "7": [3.0]}, "MSE")
    assert chart.figure["layout"]["yaxis"]["type"] == "category"
