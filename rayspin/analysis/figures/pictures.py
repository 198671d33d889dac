"""Figures of spins: samples, reconstructions, applications, and experiments with their curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes

from rayspin.analysis.figures.sheets import draw_sheet
from rayspin.analysis.figures.style import SMALL_POINTS, Floats, plot_line, whole_ticks


def draw_samples(spins: Sequence[Floats], titles: Sequence[str], path: Path) -> None:
    """Draw samples in a grid of panels with as many columns as rows, or one more.

    Args:
        spins: spins of each sample, (Y, X, 3); sizes may differ.
        titles: title of each panel.
        path: the file, .png, .pdf or .svg.

    Raises:
        InputError: the suffix of the file is none of these; likewise from the other functions of this package.
        MachineError: the system refuses to write; likewise.
    """
    columns = math.ceil(math.sqrt(len(spins)))
    pictures = list(zip(titles, spins))
    rows = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    draw_sheet(rows, path, same_region=False)


def draw_resolution(rows: Sequence[Mapping[str, Floats]], path: Path) -> None:
    """Draw one row of panels per sample, such as the coarse input, the output of each method and the true spins.

    Args:
        rows: for each sample, spins (Y, X, 3), or values (Y, X), by the title of the panel. The largest array of a row
            has one pixel per site.
        path: the file.
    """
    draw_sheet([list(row.items()) for row in rows], path)


def draw_application(panels: Mapping[str, Floats], path: Path) -> None:
    """Draw images side by side, and the key of their colors.

    Args:
        panels: spins or fields (Y, X, 3), drawn by their direction, or S_z alone (Y, X, 1), by the title of the panel.
        path: the file.
    """
    draw_sheet([list(panels.items())], path)


@dataclass(frozen=True)
class Panel:
    """A panel of curves.

    Attributes:
        curves: (x, y) values by the name of the curve.
        x_label: label of the x axis.
        y_label: label of the y axis.
        marks: values of x that are marked by vertical lines.
        log_x: use a logarithmic x axis.
        title: title of the panel.
        parameter: name of the quantity whose values, in ascending order, are the names of the curves. These then have
            the colors of a scale.
    """

    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    x_label: str
    y_label: str
    marks: Sequence[float] = ()
    log_x: bool = False
    title: str = ""
    parameter: str = ""


def draw_experiment(pictures: Sequence[Sequence[tuple[str, Floats]]], panels: Sequence[Panel], path: Path) -> None:
    """Draw rows of spins, and below them panels of curves.

    Args:
        pictures: (title, spins (Y, X, 3), or S_z alone (Y, X, 1)) of each picture of each row.
        panels: the panels of curves.
        path: the file.
    """
    names = [(panel.parameter, *panel.curves) for panel in panels]
    # Panels whose curves have the same names share the legend of the last one.
    shared = [any(later[: len(own)] == own for later in names[n + 1 :]) for n, own in enumerate(names)]
    draw_sheet(pictures, path, [partial(_show_panel, panel, not other) for panel, other in zip(panels, shared)])


def _show_panel(panel: Panel, with_legend: bool, axis: Axes) -> None:
    """Plot the curves of a panel, and a legend on its right, where it covers none of them."""
    scale = colormaps["viridis"]
    for place, (name, (x, y)) in enumerate(panel.curves.items()):
        # Without the light end of the scale.
        color = {"color": scale(0.9 * place / max(1, len(panel.curves) - 1))} if panel.parameter else {}
        plot_line(axis, x, y, label=name, **color)
    for mark in panel.marks:
        axis.axvline(mark, color="0.7", linewidth=0.6, zorder=0, marker="", linestyle="-")
    if panel.log_x:
        axis.set_xscale("log")
    elif all(isinstance(value, int) for x, _ in panel.curves.values() for value in x):
        whole_ticks(axis)
    axis.set(xlabel=panel.x_label, ylabel=panel.y_label, title=panel.title)
    if with_legend:
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.02), "borderaxespad": 0.0}
        axis.legend(**beside, title=panel.parameter or None, title_fontsize=SMALL_POINTS)
