"""The parts of a report: sections with facts, tables, charts, pictures and galleries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rayspin.analysis.figures import Floats
from rayspin.analysis.published import Verdict

State: TypeAlias = Literal["finished", "in progress", "interrupted", "not started"]


@dataclass(frozen=True)
class Facts:
    """A table of names and values.

    Attributes:
        title: heading of the table.
        rows: values by name.
    """

    title: str
    rows: Mapping[str, str]


@dataclass(frozen=True)
class Cell:
    """A cell of a table whose value is compared with a published one.

    Attributes:
        text: the value.
        verdict: result of the comparison.
        published: the published value.
    """

    text: str
    verdict: Verdict
    published: str


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        title: caption.
        columns: names of the columns.
        rows: cells of each row; the first one is the header of the row.
        note: text below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """An interactive chart.

    Attributes:
        title: caption.
        description: the quantities on the axes, and how to read the chart.
        figure: `data` and `layout` of plotly.
        values: the plotted values as a table, for readers who can't see the chart.
    """

    title: str
    description: str
    figure: Mapping[str, Any]
    values: Table | None = None


@dataclass(frozen=True)
class Slides:
    """Panels of spins that change with a slider.

    Attributes:
        axis: name of the quantity that the slider changes, such as "iteration".
        positions: labels of the positions of the slider; one position has no slider.
        panels: spins (positions, Y, X, 3) by the title of the panel; a panel with a single position doesn't change.
    """

    axis: str
    positions: Sequence[str]
    panels: Mapping[str, Floats]


@dataclass(frozen=True)
class Gallery:
    """Slides, one set below each tab.

    Attributes:
        title: caption.
        description: what is shown.
        tabs: slides by the name of the tab; a single one has no tab.
    """

    title: str
    description: str
    tabs: Mapping[str, Slides]


@dataclass(frozen=True)
class Picture:
    """A picture that the run wrote.

    Attributes:
        title: caption.
        path: the PNG file.
    """

    title: str
    path: Path


@dataclass(frozen=True)
class Text:
    """Text in a fixed-width font that is shown on request, such as a job file.

    Attributes:
        title: heading.
        text: the text.
    """

    title: str
    text: str


Block: TypeAlias = Facts | Table | Chart | Gallery | Picture | Text


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a report: a run, a stage of a pipeline or a dataset of a sweep.

    Attributes:
        title: heading.
        kind: kind of the job.
        about: a sentence about the kind.
        state: state of the run.
        blocks: what is shown.
        parts: sections of the stages.
        seconds: computing time of the run and its parts, summed over worker processes, s.
    """

    title: str
    kind: str
    about: str
    state: State
    blocks: Sequence[Block]
    parts: Sequence[Section] = field(default=())
    seconds: float = 0.0
