"""Figures of sweeps: curves, best results, parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize

from rayspin.analysis.figures.style import (
    COLUMN_MM,
    PAGE_MM,
    SMALL_POINTS,
    Floats,
    broken,
    figure_at,
    legend,
    plot_line,
    suits_log,
    whole_ticks,
)

_HEIGHT_MM = 62.0


def draw_sweep_curves(curves: Sequence[Sequence[float]], values: Sequence[float], metric: str, path: Path) -> None:
    """Plot the curves of all trials of a sweep against the epoch, colored by their results.

    Args:
        curves: the metric at each epoch, for each trial; shorter for stopped trials, and possibly empty for failed
            ones.
        values: the result of each trial, which determines its color; NaN for none.
        metric: name of the metric.
        path: the file.
    """
    colors, name = _color_scale([curve[-1] for curve in curves if curve]), metric.replace("_", " ")
    with figure_at(path, COLUMN_MM, _HEIGHT_MM) as figure:
        axis = figure.add_subplot()
        for curve, value in zip(curves, values):
            if curve:
                style = {"color": _color(colors, value), "linestyle": "-", "marker": ""}
                axis.plot(range(1, len(curve) + 1), curve, **style, linewidth=0.7, alpha=0.8)
                axis.plot(len(curve), curve[-1], **(style | {"marker": "o"}))
        axis.set(xlabel="epoch", ylabel=name, title=f"{name} of {sum(map(bool, curves))} trials")
        whole_ticks(axis)
        _log_if_wide(axis, [value for curve in curves for value in curve])
        figure.colorbar(colors, ax=axis, label=f"{name} of the trial")


def draw_bests(
    searches: Mapping[str, tuple[Sequence[float], Sequence[float]]], labels: tuple[str, str], path: Path
) -> None:
    """Plot the best result of a sweep against the total budget (epochs, samples) that its trials have used.

    Args:
        searches: (budgets, best results) by the name of the curve, which may be empty.
        labels: labels of the budget and of the result.
        path: the file.
    """
    result = labels[1].replace("_", " ")
    with figure_at(path, COLUMN_MM, _HEIGHT_MM) as figure:
        axis = figure.add_subplot()
        for name, (budgets, bests) in searches.items():
            plot_line(axis, budgets, bests, drawstyle="steps-post", label=name or None)
        axis.set(xlabel=f"{labels[0]} of all trials", ylabel=f"best {result}", title=f"best {result} so far")
        whole_ticks(axis)
        _log_if_wide(axis, [value for _, bests in searches.values() for value in bests])
        legend(axis)


def draw_parallel(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Plot parallel coordinates: a vertical axis per column and a line per trial, colored by the last column.

    Axes of numbers are linear, or logarithmic if the numbers span more than a decade; other values are evenly spaced. A
    trial whose last value is not finite is gray.

    Args:
        columns: values of all trials by the name of the column.
        path: the file.
    """
    with figure_at(path, PAGE_MM, 75) as figure:
        axis = figure.add_subplot()
        heights = []
        for place, (name, values) in enumerate(columns.items()):
            height, ticks = _heights(values)
            heights.append(height)
            axis.axvline(place, color="0.3", linewidth=0.6, marker="", linestyle="-")
            for at, text in ticks:
                axis.text(place + 0.03, at, text, va="center", fontsize=SMALL_POINTS)
            label = broken(name.replace("_", " "), PAGE_MM / len(columns))
            axis.text(place, 1.06, label, ha="center", va="bottom")
        last = np.array([float(value) for value in list(columns.values())[-1]])
        colors = _color_scale(last[np.isfinite(last)])
        for line in range(len(last)):
            style = {"color": _color(colors, float(last[line])), "linestyle": "-", "marker": ""}
            axis.plot(range(len(heights)), [height[line] for height in heights], **style, alpha=0.8)
        axis.set_xlim(-0.3, len(columns) - 0.6)
        axis.set_ylim(-0.05, 1.05)
        axis.set_axis_off()


def _color_scale(values: Sequence[float] | Floats) -> ScalarMappable:
    """A color scale for values, logarithmic if they are positive and span more than a decade."""
    finite = np.array([value for value in values if math.isfinite(value)] or [0.0])
    low, high = float(finite.min()), float(finite.max())
    scale = LogNorm(low, high) if suits_log(finite) else Normalize(low, high)
    return ScalarMappable(scale, "viridis_r")


def _color(scale: ScalarMappable, value: float) -> Any:
    """The color of a value; gray if it is not finite."""
    return scale.to_rgba(np.array([value]))[0] if math.isfinite(value) else "0.7"


def _log_if_wide(axis: Axes, values: Sequence[float]) -> None:
    if suits_log(values):
        axis.set_yscale("log")


def _heights(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """The positions of values on an axis from 0 to 1, and its ticks, (position, label)."""
    numbers = all(isinstance(value, int | float) for value in values)
    finite = np.unique([value for value in values if math.isfinite(value)]) if numbers else np.empty(0)
    if len(finite) < 2:
        known = list(dict.fromkeys(map(str, values)))
        places = {text: (index + 0.5) / len(known) for index, text in enumerate(known)}
        return [places[str(value)] for value in values], [(height, text) for text, height in places.items()]
    log = suits_log(finite)
    change = np.log if log else np.asarray
    low, high = float(change(finite[0])), float(change(finite[-1]))
    spaced = np.geomspace if log else np.linspace
    ticks = finite if len(finite) <= 8 else spaced(float(finite[0]), float(finite[-1]), 5)
    return (
        [float((change(value) - low) / (high - low)) for value in values],
        [(float((change(tick) - low) / (high - low)), f"{tick:.3g}") for tick in ticks],
    )
