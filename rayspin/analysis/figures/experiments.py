"""Figures of experiments: pictures of spins above panels of curves, and distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rayspin.analysis.figures.spins import show_spins
from rayspin.analysis.figures.style import Floats, save, sheet


@dataclass(frozen=True)
class Panel:
    """A panel of curves.

    Attributes:
        curves: (x, y) values by the name of the curve.
        x_label: label of the x axis.
        y_label: label of the y axis.
        marks: values of x that are marked by vertical lines.
        log_x: use a logarithmic x axis.
    """

    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    x_label: str
    y_label: str
    marks: Sequence[float] = ()
    log_x: bool = False


def draw_experiment(pictures: Sequence[Sequence[tuple[str, Floats]]], panels: Sequence[Panel], path: Path) -> None:
    """Draw rows of spins, and below them panels of curves.

    Args:
        pictures: (title, spins (Y, X, 3)) of each picture of each row.
        panels: the panels of curves.
        path: the PNG file.
    """
    columns = max(len(panels), *(len(row) for row in pictures))
    figure, axes = sheet(len(pictures) + 1, columns)
    for row, line in enumerate(pictures):
        for column, (title, spins) in enumerate(line):
            show_spins(axes[row * columns + column], spins, title)
    for axis, panel in zip(axes[len(pictures) * columns :], panels):
        axis.set_axis_on()
        for name, (x, y) in panel.curves.items():
            axis.plot(x, y, ".-" if len(x) < 60 else "-", linewidth=1, label=name)
        for mark in panel.marks:
            axis.axvline(mark, color="0.7", linewidth=1, zorder=0)
        if panel.log_x:
            axis.set_xscale("log")
        axis.set_xlabel(panel.x_label)
        axis.set_ylabel(panel.y_label)
        axis.legend(fontsize=8)
    save(figure, path)


@dataclass(frozen=True)
class Distribution:
    """A panel of distributions.

    Attributes:
        groups: values by the name of the group.
        label: label of the values.
        log: use a logarithmic axis for the values.
    """

    groups: Mapping[str, Sequence[float]]
    label: str
    log: bool = False


def draw_distributions(rows: Sequence[Sequence[Distribution]], path: Path) -> None:
    """Draw panels of distributions: a line of dots for each group, one dot for each value, and a bar at the median.

    Args:
        rows: the panels of each row; those of a row have the same groups.
        path: the PNG file.
    """
    columns, groups = max(map(len, rows)), max(len(row[0].groups) for row in rows)
    figure = Figure(figsize=(1.6 + 3.6 * columns, (0.9 + 0.28 * groups) * len(rows)), layout="constrained")
    axes = np.asarray(figure.subplots(len(rows), columns, squeeze=False))
    for line, row in zip(axes, rows):
        for axis, panel in zip(line, row):
            for place, values in enumerate(panel.groups.values()):
                # Spread evenly over the height of the line, in an order that has no visible pattern.
                heights = place + 0.7 * (np.mod(0.618034 * np.arange(len(values)), 1) - 0.5)
                (dots,) = axis.plot(values, heights, ".", markersize=3, alpha=0.6)
                median = float(np.median(values))
                axis.plot([median, median], [place - 0.45, place + 0.45], color=dots.get_color(), linewidth=2)
            axis.set_yticks(range(len(panel.groups)), list(panel.groups) if axis is line[0] else [])
            axis.invert_yaxis()
            if panel.log:
                axis.set_xscale("log")
            axis.set_xlabel(panel.label)
    save(figure, path)
