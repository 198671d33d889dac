"""The style of all figures: sizes, fonts, colors of lines, letters of panels, and files.

Figures have the widths of the columns of journals, 89 mm and 183 mm, and are not scaled there, so that their text is
printed with 6 and 7 points. The font comes with matplotlib, so that figures are equal on all machines.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from cycler import cycler
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from rayspin.figure_files import check_figure_suffix, figure_files
from rayspin.rundir import replacing

Floats = npt.NDArray[np.floating[Any]]

COLUMN_MM, PAGE_MM = 89.0, 183.0
"""Widths of one column and of both columns of a journal."""

MM = 1 / 25.4
"""Inches in a millimeter."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colors of lines: those of Okabe and Ito, which people with any color vision can tell apart, without yellow, which
is too light on white."""

_LINE_STYLES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

LINES = (
    cycler(color=PALETTE) * len(_LINE_STYLES)
    + cycler(marker=_MARKERS) * len(_LINE_STYLES)
    + cycler(linestyle=_LINE_STYLES) * len(PALETTE)
)
"""Styles of 28 lines that differ in color, line style or marker, so that they are told apart without colors too."""

FONT_POINTS, SMALL_POINTS = 7.0, 6.0
_LETTER_EM = 0.63
"""Mean width of a letter of the font, relative to its size."""

_SHORTEST_LINE = 8
"""Letters of a title that are in one line even if they are wider than the panel."""

_SCREEN_DPI, _PRINT_DPI = 150, 600
"""Pixels per inch of PNG files, and of the images inside of vector files."""

_MOST_MARKERS = 15
"""Largest number of markers of a line; those of longer lines are thinned out."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": FONT_POINTS,
    "axes.titlesize": FONT_POINTS,
    "axes.titlelocation": "left",
    "axes.titlepad": 3.0,
    "axes.labelsize": FONT_POINTS,
    "axes.labelpad": 2.0,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": LINES,
    "xtick.labelsize": SMALL_POINTS,
    "ytick.labelsize": SMALL_POINTS,
    "xtick.direction": "in",
    "ytick.direction": "in",
    **{f"{axis}tick.{size}.width": 0.6 for axis in "xy" for size in ("major", "minor")},
    **{f"{axis}tick.major.size": 2.5 for axis in "xy"},
    **{f"{axis}tick.minor.size": 1.5 for axis in "xy"},
    "legend.fontsize": SMALL_POINTS,
    "legend.framealpha": 0.7,
    "legend.edgecolor": "none",
    "legend.handlelength": 3.0,
    "lines.linewidth": 1.0,
    "lines.markersize": 2.5,
    "image.origin": "lower",
    "image.interpolation": "nearest",
    "image.cmap": "viridis",
    # Text stays text, in embedded TrueType fonts.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "rayspin",
}


@contextmanager
def figure_at(path: Path, width_mm: float, height_mm: float) -> Iterator[Figure]:
    """Yield an empty figure in the common style, and write it at the end.

    Args:
        path: a .png, .pdf or .svg file; see `rayspin.figure_files` for further formats.
        width_mm: width of the figure.
        height_mm: height of the figure; empty space above and below is cut off.

    Raises:
        InputError: the suffix is none of these.
        MachineError: the system refuses to write.
    """
    files = figure_files(path)
    for file in files:
        check_figure_suffix(file)
    with rc_context():
        # Without the user's own settings, so that figures are equal on all machines.
        rcdefaults()
        rcParams.update(STYLE)
        figure = Figure(figsize=(width_mm * MM, height_mm * MM), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        for file in files:
            _write(figure, file)


def broken(title: str, width_mm: float) -> str:
    """Break a title into lines that fit into a width, but not at equals signs."""
    most = max(_SHORTEST_LINE, int(width_mm / millimeters("a", FONT_POINTS)))
    return fill(title.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"), most)


def millimeters(text: str, points: float = SMALL_POINTS) -> float:
    """Return the width of the longest line of a text, mm."""
    return max(map(len, text.split("\n"))) * _LETTER_EM * points * 25.4 / 72


def plot_line(axis: Axes, x: Sequence[float] | Floats, y: Sequence[float] | Floats, **style: Any) -> None:
    """Plot a line in the next style of the cycle, with few enough markers to see it.

    Args:
        axis: the panel.
        x: values (n,).
        y: values (n,).
        style: options of `Axes.plot`.
    """
    axis.plot(x, y, markevery=max(1, len(x) // _MOST_MARKERS), **style)


def line_styles(count: int) -> list[dict[str, Any]]:
    """Return the first styles of the cycle, as options of `Axes.plot`."""
    return list(islice(LINES(), count))


def legend(axis: Axes) -> None:
    """Draw a legend if the panel has labels."""
    if axis.get_legend_handles_labels()[1]:
        axis.legend()


def letter_panels(rows: Sequence[Sequence[Axes]]) -> None:
    """Write "(a)", "(b)", ... before the titles of panels, and break the titles into lines.

    Args:
        rows: the panels of a figure. If they are more than letters, the first one of each row has a letter.
    """
    panels = [axis for row in rows for axis in row]
    lettered = panels if len(panels) <= len(string.ascii_lowercase) else [row[0] for row in rows]
    letter = dict(zip(lettered, string.ascii_lowercase)) if len(panels) > 1 else {}
    for axis in panels:
        title = axis.get_title(loc="left")
        if axis in letter:
            title = f"({letter[axis]}) {title}".rstrip()
        axis.set_title(broken(title, _cell_mm(axis)))


def whole_ticks(axis: Axes) -> None:
    """Put the ticks of the x axis, which counts something, at whole numbers."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _cell_mm(axis: Axes) -> float:
    """Return the width that the grid of a panel gives it."""
    spot = axis.get_subplotspec()
    assert spot is not None
    grid = spot.get_gridspec()
    figure: Any = axis.get_figure()
    ratios: Any = grid.get_width_ratios() or [1] * grid.ncols
    part = sum(ratios[column] for column in spot.colspan) / sum(ratios)
    return float(part * figure.bbox.width / figure.dpi / MM)


def _write(figure: Figure, path: Path) -> None:
    form = path.suffix[1:]
    pixels = _SCREEN_DPI if form == "png" else _PRINT_DPI
    figure.draw_without_rendering()
    content = figure.get_tightbbox(figure.canvas.get_renderer())  # type: ignore[attr-defined]
    whole = Bbox([[0, content.y0 - MM], [figure.get_figwidth(), content.y1 + MM]])
    # Without time stamps and versions, so that the same data gives the same file.
    absent = {"png": ("Software",), "pdf": ("Creator", "Producer", "CreationDate"), "svg": ("Creator", "Date")}[form]
    with replacing(path) as temporary:
        figure.savefig(temporary, format=form, dpi=pixels, bbox_inches=whole, metadata=dict.fromkeys(absent))


def suits_log(values: npt.ArrayLike) -> bool:
    """Return whether finite values are positive and span more than a decade, so that a logarithmic scale suits them."""
    array = np.asarray(values, float)
    finite = array[np.isfinite(array)]
    return bool(finite.size and finite.min() > 0 and finite.max() > 10 * finite.min())
