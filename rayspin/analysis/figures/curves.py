"""Figures of curves and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from rayspin.analysis.figures.style import Floats, save


def draw_curves(
    curves: Mapping[str, Sequence[float]], x_label: str, y_label: str, path: Path, *, log: bool = False
) -> None:
    """Plot curves against the index of their values, counted from 1.

    Args:
        curves: values by the name of the curve.
        x_label: label of the x axis.
        y_label: label of the y axis.
        path: the PNG file.
        log: use a logarithmic y axis.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.add_subplot()
    show_curves(axis, curves, x_label, y_label, first=1)
    if log:
        axis.set_yscale("log")
    save(figure, path)


def draw_histogram(groups: Mapping[str, Floats], x_label: str, y_label: str, path: Path) -> None:
    """Plot histograms with common bins.

    Args:
        groups: values (n,) by the name of the histogram.
        x_label: label of the x axis.
        y_label: label of the y axis.
        path: the PNG file.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.add_subplot()
    every = np.concatenate(list(groups.values()))
    # Equal values would give bins of width 0.
    margin = max(float(np.ptp(every)) * 0.02, 1e-6)
    ends = float(every.min()) - margin, float(every.max()) + margin
    bins = np.linspace(*ends, min(80, 12 + every.size // 20)).tolist()
    for name, values in groups.items():
        axis.hist(values, bins=bins, label=name, histtype="stepfilled", alpha=0.6)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.legend(fontsize=8)
    save(figure, path)


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
        path: the PNG file.
        reference: {quantity: (mean, standard error)} to draw as bands of plus and minus one standard error.
    """
    figure = Figure(figsize=(3.9 * len(quantities), 3.4), layout="constrained")
    for axis, quantity in zip(np.atleast_1d(np.asarray(figure.subplots(1, len(quantities)))), quantities):
        for name, points in families.items():
            means, errors = np.array([point[quantity] for _, point in points]).T
            axis.errorbar([x for x, _ in points], means, errors, fmt=".-", capsize=2, label=name)
        if reference is not None:
            mean, error = reference[quantity]
            axis.axhspan(mean - error, mean + error, color="0.8", label="reference")
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(x_label)
        axis.set_title(quantity, fontsize=10)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    save(figure, path)


def draw_reliability(curves: Mapping[str, tuple[Floats, Floats]], path: Path) -> None:
    """Plot actual against predicted squared errors of groups of sites, such as deciles of the prediction.

    Args:
        curves: (predicted, actual) mean squared errors by the name of the curve; see
            `rayspin.reconstruction.reliability`.
        path: the PNG file.
    """
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axis = figure.add_subplot()
    for name, (predicted, actual) in curves.items():
        axis.plot(predicted, actual, ".-", linewidth=1, label=name)
    ends = [
        float(extreme([extreme(values) for pair in curves.values() for values in pair])) for extreme in (np.min, np.max)
    ]
    axis.plot(ends, ends, "k-", linewidth=1, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="predicted squared error", ylabel="squared error")
    axis.legend(fontsize=8)
    save(figure, path)


def show_curves(axis: Axes, curves: Mapping[str, Sequence[float]], x_label: str, y_label: str, first: int = 0) -> None:
    """Plot curves against the index of their values, counted from `first`."""
    axis.set_axis_on()
    for name, values in curves.items():
        axis.plot(range(first, first + len(values)), values, ".-", label=name)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.legend(fontsize=8)
