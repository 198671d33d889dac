"""Sheets: rows of pictures with their keys, and plots below them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from rayspin.analysis.figures.spins import show_gray_key, show_key, show_scale_bar, show_values
from rayspin.analysis.figures.style import COLUMN_MM, PAGE_MM, Floats, broken, figure_at, letter_panels

Row = Sequence[tuple[str, Floats]]
"""(title, values) of the pictures of a row; values as in `spins.show_values`."""

_KEY_MM = 14.0
_LINE_MM, _BELOW_MM, _GAP_MM = 3.2, 5.0, 1.5
"""Heights of a line of a title, of a scale bar or a color bar below a picture, and of the gap to the next pictures."""

_MOST_PICTURES, _MOST_PLOTS = 8, 4
"""Largest numbers of pictures and of plots side by side."""

_LONGEST = 10.0
"""Largest ratio of the sides of the space for a picture."""

_WIDEST_MM = 44.0
"""Largest width of a square picture."""


@dataclass(frozen=True)
class _Picture:
    """A picture of a sheet: its title, its values, and the sites of its scale bar, 0 for none."""

    title: str
    values: Floats
    bar_sites: int

    @property
    def aspect(self) -> float:
        """Width over height of the space for the picture."""
        return float(np.clip(self.values.shape[1] / self.values.shape[0], 1 / _LONGEST, _LONGEST))


def draw_sheet(
    rows: Sequence[Row], path: Path, plots: Sequence[Callable[[Axes], None]] = (), *, same_region: bool = True
) -> None:
    """Draw rows of pictures, and plots below them.

    Args:
        rows: the pictures of each row; long rows are broken into lines.
        path: the file of the figure.
        plots: functions that draw the plots.
        same_region: the pictures of a row show the same sites, and the widest one has a pixel for each site; otherwise
            every picture has a pixel for each site. A picture whose scale is that of the one before has no scale bar.
    """
    lines = [line for row in _with_bars(rows, same_region) for line in _lines(row)]
    keys = [show for components, show in ((3, show_key), (1, show_gray_key)) if _has(rows, components)]
    wide = [max(line[n].aspect for line in lines if n < len(line)) for n in range(max(map(len, lines)))]
    width = PAGE_MM if plots or sum(wide) > 2 else COLUMN_MM
    # Each key is in a line of its own, or all in the only one.
    side_by_side = len(keys) if len(lines) == 1 else 1
    keys_mm = _KEY_MM * side_by_side if keys else 0.1
    unit_mm = min(_WIDEST_MM, (width - keys_mm) / sum(wide))
    widths = [unit_mm * part for part in wide]
    heights = [max(width / picture.aspect for picture, width in zip(line, widths)) for line in lines]
    pictures_mm = sum(heights) + sum(_around(line, widths) for line in lines)
    side = max(1, min(len(plots), _MOST_PLOTS))
    plot_lines = [0.78 * width / max(side, 3)] * -(-len(plots) // side)
    with figure_at(path, width, pictures_mm + sum(plot_lines)) as figure:
        upper: Figure | SubFigure = figure
        below: list[Axes] = []
        if plots:
            # The legend beside a plot takes space from its own line only.
            parts: Any = figure.subfigures(1 + len(plot_lines), 1, height_ratios=[pictures_mm, *plot_lines])
            upper, *lower = parts
            below = [lower[n // side].add_subplot(1, side, n % side + 1) for n in range(len(plots))]
        # The last two columns are for the keys, and for the rest of the width.
        ratios = [*widths, keys_mm, max(0.1, width - sum(widths) - keys_mm)]
        grid = upper.add_gridspec(len(lines), len(ratios), width_ratios=ratios, height_ratios=heights)
        panels = [
            [_show(upper.add_subplot(grid[n, m]), each) for m, each in enumerate(line)] for n, line in enumerate(lines)
        ]
        for place, show in enumerate(keys):
            cell = grid[place // side_by_side, len(wide)].subgridspec(1, side_by_side)[place % side_by_side]
            show(upper.add_subplot(cell, anchor="NW"))
        for plot, axis in zip(plots, below):
            plot(axis)
        letter_panels([*panels, *([axis] for axis in below)])


def _show(axis: Axes, picture: _Picture) -> Axes:
    axis.set_anchor("NW")
    show_values(axis, picture.values, picture.title)
    if picture.bar_sites:
        show_scale_bar(axis, picture.bar_sites)
    return axis


def _with_bars(rows: Sequence[Row], same_region: bool) -> Iterator[list[_Picture]]:
    """Yield the rows with the sites of their scale bars."""
    before = 0
    for row in rows:
        most = max(values.shape[1] for _, values in row)
        pictures = []
        for title, values in row:
            sites = most if same_region else values.shape[1]
            pictures.append(_Picture(title, values, 0 if sites == before else sites))
            before = sites
        yield pictures


def _lines(row: list[_Picture]) -> list[list[_Picture]]:
    """Break a long row into lines that are as equal as possible."""
    each = -(-len(row) // -(-len(row) // _MOST_PICTURES))
    return [row[first : first + each] for first in range(0, len(row), each)]


def _around(line: Sequence[_Picture], widths: Sequence[float]) -> float:
    """Return the height of what is above and below a line of pictures, mm."""
    titles = max(broken(f"(a) {picture.title}", width).count("\n") + 1 for picture, width in zip(line, widths))
    below = _BELOW_MM if any(picture.bar_sites or picture.values.ndim == 2 for picture in line) else 0
    return titles * _LINE_MM + below + _GAP_MM


def _has(rows: Sequence[Row], components: int) -> bool:
    return any(values.ndim == 3 and values.shape[-1] == components for row in rows for _, values in row)
