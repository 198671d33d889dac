"""Tables and phase diagrams as colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from rayspin.analysis.figures.style import Floats, save

_LABEL_WIDTH = 20
"""Number of characters after which the labels of the rows and columns of a table are broken."""

_MOST_CELLS = 24
"""The largest number of rows or columns of a table that is drawn with a number in each cell."""


def draw_heat_map(
    values: Floats,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    title: str,
    path: Path,
    *,
    log: bool = False,
) -> None:
    """Draw a table of values as colours, with a number in each cell if there is space.

    Args:
        values: (rows, columns) values; NaN marks missing ones.
        rows: label and tick labels of the first axis.
        columns: label and tick labels of the second axis.
        title: title of the figure.
        path: the PNG file.
        log: use a logarithmic colour scale, for positive values.
    """
    down, across = (min(side, _MOST_CELLS) for side in values.shape)
    ticks = [[fill(tick, _LABEL_WIDTH) for tick in names] for names in (rows[1], columns[1])]
    lines = [max(tick.count("\n") for tick in names) for names in ticks]
    size = (2.2 + (1.5 if lines[1] else 1.1) * across, 1.6 + 0.15 * lines[1] + max(0.7, 0.2 + 0.15 * lines[0]) * down)
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.add_subplot()
    picture = axis.imshow(values, cmap="viridis", aspect="auto", norm="log" if log else None)
    for side, names, more in zip((axis.yaxis, axis.xaxis), ticks, lines):
        step = -(-len(names) // _MOST_CELLS)
        side.set_ticks(range(0, len(names), step), names[::step])
        side.set_tick_params(labelsize=8 if more else 10)
    axis.set_ylabel(rows[0])
    axis.set_xlabel(columns[0])
    axis.set_title(title)
    shades = np.log(values) if log else values
    middle = float(np.nanmean(shades)) if np.isfinite(values).any() else 0.0
    for row, column in np.ndindex(*values.shape) if max(values.shape) <= _MOST_CELLS else ():
        ink = "white" if shades[row, column] < middle else "black"
        text = format(values[row, column], ".1e" if log else ".3g")
        axis.text(column, row, text, ha="center", va="center", color=ink)
    figure.colorbar(picture, ax=axis)
    save(figure, path)


def draw_phase_diagram(
    values: Floats, rows: tuple[str, Sequence[float]], columns: tuple[str, Sequence[float]], title: str, path: Path
) -> None:
    """Draw a quantity as colours over two numeric axes.

    The sizes of cells follow the spacing of the axis values. Quantities of both signs are red below and blue above 0.

    Args:
        values: (rows, columns) values; NaN marks missing ones.
        rows: label and ascending values of the vertical axis.
        columns: label and ascending values of the horizontal axis.
        title: title of the figure.
        path: the PNG file.
    """
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axis = figure.add_subplot()
    signed = bool(np.nanmin(values) < 0 < np.nanmax(values))
    most = float(np.nanmax(np.abs(values)))
    picture = axis.pcolormesh(
        np.asarray(columns[1], float),
        np.asarray(rows[1], float),
        values,
        shading="nearest",
        **({"cmap": "RdBu", "vmin": -most, "vmax": most} if signed else {"cmap": "viridis"}),
    )
    axis.set_xlabel(columns[0].replace("_", " "))
    axis.set_ylabel(rows[0].replace("_", " "))
    axis.set_title(title)
    figure.colorbar(picture, ax=axis)
    save(figure, path)
