"""Tables and phase diagrams as colors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from rayspin.analysis.figures.style import (
    COLUMN_MM,
    PAGE_MM,
    SMALL_POINTS,
    Floats,
    broken,
    figure_at,
    millimeters,
)

_LABEL_WIDTH = 20
"""Number of characters after which the labels of the rows and columns of a table are broken."""

_MOST_TICKS = 24
"""The largest number of rows or columns that are all labeled."""

_LINE_MM, _BAR_MM = 2.8, 14.0
"""Height of a line of text, and width of a color bar with its labels."""

_LONG_TABLE_MM = 90.0
"""Height of a table of more rows than are labeled."""


def draw_heat_map(
    values: Floats,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    title: str,
    path: Path,
    *,
    log: bool = False,
) -> None:
    """Draw a table of values as colors, with a number in each cell if there is space.

    Args:
        values: (rows, columns) values; NaN marks missing ones.
        rows: label and tick labels of the first axis.
        columns: label and tick labels of the second axis.
        title: title of the figure, which says what the values are.
        path: the file.
        log: use a logarithmic color scale, for positive values.
    """
    down, across = values.shape
    ticks = [[fill(tick, _LABEL_WIDTH) for tick in names] for names in (rows[1], columns[1])]
    texts = [[format(value, ".1e" if log else ".3g") for value in row] for row in values]
    left_mm, cell_mm = (max(map(millimeters, names)) for names in (ticks[0], [*ticks[1], *np.ravel(texts)]))
    around_mm = left_mm + _BAR_MM + 2 * _LINE_MM
    width = COLUMN_MM if around_mm + (cell_mm + 2) * across <= COLUMN_MM else PAGE_MM
    across_mm = (width - around_mm) / across
    turned = max(map(millimeters, ticks[1])) + 1 > across_mm * -(-across // _MOST_TICKS)
    lines = [1 + max(tick.count("\n") for tick in names) for names in ticks]
    down_mm = _LINE_MM * lines[0] + 1 if down <= _MOST_TICKS else _LONG_TABLE_MM / down
    below_mm = max(map(millimeters, ticks[1])) if turned else _LINE_MM * lines[1]
    with figure_at(path, width, down_mm * down + below_mm + 5 * _LINE_MM) as figure:
        axis = figure.add_subplot()
        picture = axis.imshow(values, aspect="auto", norm="log" if log else None, origin="upper")
        for side, names in zip((axis.yaxis, axis.xaxis), ticks):
            step = -(-len(names) // _MOST_TICKS)
            side.set_ticks(range(0, len(names), step), names[::step])
        axis.tick_params(length=0)
        if turned:
            axis.tick_params(axis="x", rotation=90)
        axis.set(
            ylabel=rows[0].replace("_", " "),
            xlabel=columns[0].replace("_", " "),
            title=broken(title, width - left_mm),
        )
        if max(millimeters(text) for row in texts for text in row) < across_mm and down_mm >= _LINE_MM:
            _write_numbers(axis, texts, picture, values)
        figure.colorbar(picture, ax=axis)


def _write_numbers(axis: Axes, texts: Sequence[Sequence[str]], picture: AxesImage, values: Floats) -> None:
    """Write numbers into cells, in black on light cells and white on dark ones."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            luminance = np.dot(picture.to_rgba(np.array([value]))[0, :3], (0.2126, 0.7152, 0.0722))
            ink = "black" if luminance > 0.4 else "white"
            axis.text(column, row, texts[row][column], ha="center", va="center", color=ink, fontsize=SMALL_POINTS)


def draw_phase_diagram(
    values: Floats, rows: tuple[str, Sequence[float]], columns: tuple[str, Sequence[float]], title: str, path: Path
) -> None:
    """Draw a quantity as colors over two numeric axes.

    The sizes of cells follow the spacing of the axis values. Quantities of both signs are red below and blue above 0.

    Args:
        values: (rows, columns) values; NaN marks missing ones.
        rows: label and ascending values of the vertical axis.
        columns: label and ascending values of the horizontal axis.
        title: title of the figure, which says what the values are.
        path: the file.
    """
    signed = bool(np.nanmin(values) < 0 < np.nanmax(values))
    most = float(np.nanmax(np.abs(values)))
    colors: dict[str, Any] = {"cmap": "RdBu", "vmin": -most, "vmax": most} if signed else {}
    with figure_at(path, COLUMN_MM, 0.75 * COLUMN_MM) as figure:
        axis = figure.add_subplot()
        picture = axis.pcolormesh(
            np.asarray(columns[1], float),
            np.asarray(rows[1], float),
            values,
            shading="nearest",
            **colors,
        )
        axis.set(xlabel=columns[0].replace("_", " "), ylabel=rows[0].replace("_", " "), title=title)
        figure.colorbar(picture, ax=axis)
