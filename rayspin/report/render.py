"""Writing of a report: sections to a self-contained HTML page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rayspin import __version__
from rayspin.report.blocks import Cell, Section, Table
from rayspin.report.collect import collect, computing_time
from rayspin.report.images import DETAILS, Detail, picture_uri, spins_uri, wheel_uri
from rayspin.rundir import write_text

LARGEST_BYTES = 9_500_000
"""Largest size of a page; images have less detail in a page that would be larger."""


class _Names:
    """Unique identifiers of the elements of a page."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        """Return an identifier that contains the letters and digits of a text."""
        words = "".join(char if char.isascii() and char.isalnum() else " " for char in text).lower().split()
        name = "-".join(words) or "part"
        self._taken[name] += 1
        return name if self._taken[name] == 1 else f"{name}-{self._taken[name]}"

    def anchors(self, sections: Sequence[Section], prefix: str = "") -> dict[Section, str]:
        """Return identifiers of sections and all their parts."""
        found: dict[Section, str] = {}
        for section in sections:
            path = f"{prefix} {section.title}"
            found |= {section: self(path), **self.anchors(section.parts, path)}
        return found


def write_report(runs: Sequence[Path], out: Path, renew_s: float = 0.0) -> bool:
    """Write a page about runs.

    Args:
        runs: folders of the runs.
        out: the HTML file.
        renew_s: seconds after which the page loads itself again while a run is in progress; 0 for never.

    Returns:
        Whether all runs have finished or stopped.

    Raises:
        InputError: a folder holds no run, or its files are damaged.
        MachineError: the file cannot be written.
    """
    sections = [collect(path) for path in runs]
    ended = all(section.state != "in progress" for section in sections)
    write_text(out, render(sections, 0.0 if ended else renew_s))
    return ended


def render(sections: Sequence[Section], renew_s: float = 0.0) -> str:
    """Return the page of sections, with as much detail in its images as its size allows."""
    for detail in DETAILS:
        page = _page(sections, detail, renew_s)
        if len(page.encode()) <= LARGEST_BYTES:
            break
    return page


def _page(sections: Sequence[Section], detail: Detail, renew_s: float) -> str:
    environment = _environment()
    names = _Names()
    environment.globals["identifier"] = names
    environment.filters["spins"] = lambda spins: spins_uri(spins, detail)
    environment.filters["picture"] = lambda path: picture_uri(path, detail)
    return environment.get_template("page.html.j2").render(
        compared=list(_compared(sections)),
        title=", ".join(section.title for section in sections),
        sections=sections,
        anchors=names.anchors(sections),
        seconds=sum(section.seconds for section in sections),
        now=f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}",
        version=__version__,
        renew_s=renew_s,
    )


def _compared(sections: Sequence[Section]) -> Iterator[tuple[Section, str, dict[str, Cell]]]:
    """Yield (section, name of the row, cells by the name of their column) for every row with a published value."""
    for section in sections:
        for table in (block for block in section.blocks if isinstance(block, Table)):
            for row in table.rows:
                cells = {column: cell for column, cell in zip(table.columns, row) if isinstance(cell, Cell)}
                if cells:
                    yield section, f"{table.title}: {row[0]}", cells
        yield from _compared(section.parts)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rayspin.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"script": _script, "kind": lambda block: type(block).__name__, "duration": computing_time}
    environment.globals |= {"plotly": _plotly, "wheel": wheel_uri}
    return environment


def _script(value: Any) -> Markup:
    """Return a value as JSON that can't end the script element that contains it."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704  escaped here


@cache
def _plotly() -> Markup:
    return Markup(get_plotlyjs())  # noqa: S704  the library's own code
