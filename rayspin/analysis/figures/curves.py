"""Figures of curves, histograms and distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, LogLocator, NullFormatter, StrMethodFormatter

from rayspin.analysis.figures.style import (
    COLUMN_MM,
    PAGE_MM,
    Floats,
    figure_at,
    legend,
    letter_panels,
    line_styles,
    plot_line,
    whole_ticks,
)

_HEIGHT_MM = 62.0
"""Height of a figure of one column with curves."""


def draw_curves(
    curves: Mapping[str, Sequence[float]], x_label: str, y_label: str, path: Path, *, log: bool = False, title: str = ""
) -> None:
    """Plot curves against the index of their values, counted from 1.

    Args:
        curves: values by the name of the curve.
        x_label: label of the x axis.
        y_label: label of the y axis.
        path: the file.
        log: use a logarithmic y axis.
        title: title of the figure.
    """
    with figure_at(path, COLUMN_MM, _HEIGHT_MM) as figure:
        axis = figure.add_subplot()
        show_curves(axis, curves, (x_label, y_label), title, first=1)
        if log:
            axis.set_yscale("log")
            # Numbers like 0.02 between powers of ten, if there are few of these.
            axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def show_curves(
    axis: Axes, curves: Mapping[str, Sequence[float]], labels: tuple[str, str], title: str, first: int = 0
) -> None:
    """Plot curves against the index of their values, counted from `first`."""
    for name, values in curves.items():
        plot_line(axis, range(first, first + len(values)), values, label=name.replace("_", " "))
    axis.set(xlabel=labels[0], ylabel=labels[1], title=title)
    whole_ticks(axis)
    legend(axis)


def draw_histogram(groups: Mapping[str, Floats], x_label: str, y_label: str, path: Path, *, title: str = "") -> None:
    """Plot histograms with common bins.

    Args:
        groups: values (n,) by the name of the histogram.
        x_label: label of the x axis.
        y_label: label of the y axis.
        path: the file.
        title: title of the figure.
    """
    every = np.concatenate(list(groups.values()))
    # Equal values would give bins of width 0.
    margin = max(float(np.ptp(every)) * 0.02, 1e-6)
    ends = float(every.min()) - margin, float(every.max()) + margin
    bins = np.linspace(*ends, min(80, 12 + every.size // 20)).tolist()
    with figure_at(path, COLUMN_MM, _HEIGHT_MM) as figure:
        axis = figure.add_subplot()
        for (name, values), style in zip(groups.items(), line_styles(len(groups))):
            line = {"edgecolor": style["color"], "linestyle": style["linestyle"], "linewidth": 1.0}
            axis.hist(values, bins=bins, label=name, histtype="stepfilled", facecolor=f"{style['color']}40", **line)
        axis.set(xlabel=x_label, ylabel=y_label, title=title)
        if len(groups) > 1:
            figure.legend(loc="outside lower center", ncols=3)


def draw_measurements(
    families: Mapping[str, Sequence[tuple[float, Mapping[str, Any]]]],
    quantities: Sequence[str],
    x_label: str,
    path: Path,
    reference: Mapping[str, Any] | None = None,
) -> None:
    """Plot one panel per quantity, with means and error bars against x on a logarithmic x axis.

    Args:
        families: points of each curve by its name, as (x, {quantity: (mean, standard error)}).
        quantities: the quantities to plot, which also are the titles of the panels.
        x_label: label of the x axis.
        path: the file.
        reference: {quantity: (mean, standard error)} to draw as bands of plus and minus one standard error.
    """
    with figure_at(path, PAGE_MM, PAGE_MM / len(quantities) * 0.9 + 10) as figure:
        axes = list(figure.subplots(1, len(quantities), squeeze=False)[0])
        for axis, quantity in zip(axes, quantities):
            for (name, points), style in zip(families.items(), line_styles(len(families))):
                means, errors = np.array([point[quantity] for _, point in points]).T
                axis.errorbar([x for x, _ in points], means, errors, capsize=1.5, label=name, **style)
            if reference is not None:
                mean, error = reference[quantity]
                axis.axhspan(mean - error, mean + error, color="0.8", label="reference")
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set(xlabel=x_label, title=quantity)
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        letter_panels([axes])


def draw_reliability(curves: Mapping[str, tuple[Floats, Floats]], path: Path) -> None:
    """Plot actual against predicted squared errors of groups of sites, such as deciles of the prediction.

    Args:
        curves: (predicted, actual) mean squared errors by the name of the curve; see
            `rayspin.reconstruction.reliability`.
        path: the file.
    """
    ends = [
        float(extreme([extreme(values) for pair in curves.values() for values in pair])) for extreme in (np.min, np.max)
    ]
    with figure_at(path, COLUMN_MM, COLUMN_MM) as figure:
        axis = figure.add_subplot(xscale="log", yscale="log")
        for name, (predicted, actual) in curves.items():
            plot_line(axis, predicted, actual, label=name)
        axis.plot(ends, ends, color="black", linestyle="-", marker="", linewidth=0.6, zorder=0)
        axis.set(xlabel="predicted squared error", ylabel="squared error", title="error against predicted error")
        legend(axis)


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
        path: the file.
    """
    columns, groups = max(map(len, rows)), max(len(row[0].groups) for row in rows)
    with figure_at(path, PAGE_MM, (18 + 4.5 * groups) * len(rows)) as figure:
        lines = [list(line) for line in figure.subplots(len(rows), columns, squeeze=False)]
        for line, row in zip(lines, rows):
            for axis, panel in zip(line, row):
                _show_distribution(axis, panel)
                axis.set_yticks(range(len(panel.groups)), list(panel.groups) if axis is line[0] else [])
        letter_panels(lines)


def _show_distribution(axis: Axes, panel: Distribution) -> None:
    for place, (values, style) in enumerate(zip(panel.groups.values(), line_styles(len(panel.groups)))):
        # Spread evenly over the height of the line, in an order that has no visible pattern.
        heights = place + 0.7 * (np.mod(0.618034 * np.arange(len(values)), 1) - 0.5)
        color = style["color"]
        axis.plot(values, heights, ".", color=color, markersize=2.5, markeredgewidth=0, alpha=0.6)
        median = float(np.median(values))
        axis.plot([median, median], [place - 0.45, place + 0.45], color=color, marker="", linestyle="-", linewidth=1.5)
    axis.invert_yaxis()
    if panel.log:
        axis.set_xscale("log")
    axis.set_xlabel(panel.label)
