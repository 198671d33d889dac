"""Figures of spins, fields and runs; the only module that uses matplotlib.

Spins are drawn as in both papers: white is +z, black is -z, and the hue is the direction in the plane (red is +x,
yellow-green is +y). The first row of an array is drawn at the bottom, so that +y points up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from rayspin.rundir import replacing

Floats = npt.NDArray[np.floating[Any]]

_LABEL_WIDTH = 20
"""Number of characters after which the labels of the rows and columns of a table are broken."""

_MOST_CELLS = 24
"""The largest number of rows or columns of a table that is drawn with a number in each cell."""

_NONE = 1e-12
"""Length below which a vector has no direction."""


def spin_colours(spins_YXC: Floats) -> npt.NDArray[np.float64]:
    """RGB colours, 0 to 1, (Y, X, 3), of vectors (Y, X, 3): white is +z, black is -z, hue is the angle in the plane.

    Vectors of length zero, which have no direction, are grey.
    """
    length = np.linalg.norm(spins_YXC, axis=-1)
    unit = spins_YXC / np.maximum(length, _NONE)[..., None]
    hue = np.mod(np.arctan2(unit[..., 1], unit[..., 0]) / (2 * np.pi), 1.0)
    up = unit[..., 2]
    # White (saturation 0) at +z, full colour in the plane, black (value 0) at -z.
    saturation = np.where(length > _NONE, np.sqrt(np.clip(1 - np.maximum(up, 0), 0, 1)), 0.0)
    value = np.where(length > _NONE, np.sqrt(np.clip(1 + np.minimum(up, 0), 0, 1)), 0.5)
    return np.asarray(hsv_to_rgb(np.stack([hue, saturation, value], axis=-1)))


def draw_samples(spins: Sequence[Floats], titles: Sequence[str], path: Path) -> None:
    """Draw samples in a grid of panels with as many columns as rows, or one more.

    Args:
        spins: spins of each sample, (Y, X, 3); sizes may differ.
        titles: title of each panel.
        path: the PNG file.

    Raises:
        MachineError: the system refuses to write; likewise from the other functions of this module.
    """
    columns = math.ceil(math.sqrt(len(spins)))
    rows = math.ceil(len(spins) / columns)
    figure, axes = _sheet(rows, columns)
    for axis, spins_YXC, title in zip(axes, spins, titles):
        _spins(axis, spins_YXC, title)
    _save(figure, path)


def draw_estimation(
    spins_YXC: Floats,
    truth_YXC: Floats,
    estimate_YXC: Floats,
    recursion: Sequence[tuple[str, Floats]],
    energies: Mapping[str, Sequence[float]],
    path: Path,
) -> None:
    """Draw a field estimate and the exact field, and below them a recursive process.

    Args:
        spins_YXC: the input spins.
        truth_YXC: their exact effective field, J.
        estimate_YXC: the field estimated by the network, J.
        recursion: (title, spins) of the steps of a recursive process to show, up to four.
        energies: energy per site at each iteration, J, by the name of the curve.
        path: the PNG file.
    """
    figure, axes = _sheet(2, 5)
    _spins(axes[0], spins_YXC, "spins")
    _spins(axes[1], truth_YXC, "direction of the exact field")
    _spins(axes[2], estimate_YXC, "direction of the estimated field")
    _magnitude(axes[3], np.linalg.norm(estimate_YXC - truth_YXC, axis=-1), "magnitude of the error (J)")
    _against(axes[4], truth_YXC, estimate_YXC)
    for axis, (title, spins) in zip(axes[5:9], recursion):
        _spins(axis, spins, title)
    _curves(axes[9], energies, "iteration", "energy per site (J)")
    _save(figure, path)


def draw_fields(truth_NYXC: Floats, estimates: Mapping[str, Floats], uniform_NYXC: Floats, path: Path) -> None:
    """Plot estimates against the exact field by component, in full and minus the uniform field (2021, Fig. 2b).

    Args:
        truth_NYXC: exact effective fields, J.
        estimates: estimated fields, J, by name; the first one is also plotted in full.
        uniform_NYXC: the field at each spin if all other spins were parallel to it, J.
        path: the PNG file.
    """
    figure = Figure(figsize=(4.8 * (1 + len(estimates)), 4.6), layout="constrained")
    whole, *rest = figure.subplots(1, 1 + len(estimates))
    _against(whole, truth_NYXC, next(iter(estimates.values())))
    whole.set_title("effective field")
    for axis, (name, estimate_NYXC) in zip(rest, estimates.items()):
        _against(axis, truth_NYXC - uniform_NYXC, estimate_NYXC - uniform_NYXC)
        axis.set_title(f"{name}, minus the field of uniform spins", fontsize=10)
    _save(figure, path)


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
    figure, axes = _sheet(len(pictures) + 1, columns)
    for row, line in enumerate(pictures):
        for column, (title, spins) in enumerate(line):
            _spins(axes[row * columns + column], spins, title)
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
    _save(figure, path)


def draw_resolution(rows: Sequence[Mapping[str, Floats]], path: Path) -> None:
    """Draw one row of panels per sample, such as the coarse input, the output of each method and the true spins.

    Args:
        rows: for each sample, spins (Y, X, 3), or values (Y, X), by the title of the panel.
        path: the PNG file.
    """
    columns = max(map(len, rows))
    figure, axes = _sheet(len(rows), columns)
    for number, row in enumerate(rows):
        for axis, (title, values) in zip(axes[number * columns :], row.items()):
            draw = _spins if values.ndim == 3 else _magnitude
            draw(axis, values, title)
    _save(figure, path)


def draw_application(panels: Mapping[str, Floats], path: Path) -> None:
    """Draw images side by side, and the key of their colours.

    Args:
        panels: spins or fields (Y, X, 3), drawn by their direction, or S_z alone (Y, X, 1), by the title of the panel.
        path: the PNG file.
    """
    wide = [panel.shape[1] / panel.shape[0] for panel in panels.values()]
    height = 3.4
    figure = Figure(figsize=(height * sum(wide) + 1.4, height + 0.4), layout="constrained")
    *axes, key = np.asarray(figure.subplots(1, len(panels) + 1, width_ratios=[*wide, 0.3]))
    for axis, (title, values) in zip(axes, panels.items()):
        axis.set_axis_off()
        if values.shape[-1] == 1:
            axis.imshow(values[..., 0], origin="lower", cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
            axis.set_title(title, fontsize=10)
        else:
            _spins(axis, values, title)
    _key(key)
    _save(figure, path)


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
    _save(figure, path)


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
    _curves(axis, curves, x_label, y_label, first=1)
    if log:
        axis.set_yscale("log")
    _save(figure, path)


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
    _save(figure, path)


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
    _save(figure, path)


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
    _save(figure, path)


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
    _save(figure, path)


def draw_sweep_curves(curves: Sequence[Sequence[float]], values: Sequence[float], metric: str, path: Path) -> None:
    """Plot the curves of all trials of a sweep against the epoch, coloured by their results.

    Args:
        curves: the metric at each epoch, for each trial; shorter for stopped trials, and possibly empty for failed
            ones.
        values: the result of each trial, which determines its colour; NaN for none.
        metric: name of the metric.
        path: the PNG file.
    """
    figure = Figure(figsize=(7.4, 4.6), layout="constrained")
    axis = figure.add_subplot()
    colours = _colour_scale([curve[-1] for curve in curves if curve])
    for curve, value in zip(curves, values):
        if curve:
            colour = _colour(colours, value)
            axis.plot(range(1, len(curve) + 1), curve, color=colour, linewidth=1, alpha=0.8)
            axis.plot(len(curve), curve[-1], ".", color=colour, markersize=5)
    axis.set_xlabel("epoch")
    axis.set_ylabel(metric.replace("_", " "))
    _log_if_wide(axis, [value for curve in curves for value in curve])
    figure.colorbar(colours, ax=axis, label=f"{metric.replace('_', ' ')} of the trial")
    _save(figure, path)


def draw_bests(
    searches: Mapping[str, tuple[Sequence[float], Sequence[float]]], labels: tuple[str, str], path: Path
) -> None:
    """Plot the best result of a sweep against the total budget (epochs, samples) that its trials have used.

    Args:
        searches: (budgets, best results) by the name of the curve, which may be empty.
        labels: labels of the budget and of the result.
        path: the PNG file.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.add_subplot()
    for name, (budgets, bests) in searches.items():
        axis.step(budgets, bests, where="post", marker=".", label=name or None)
    axis.set_xlabel(f"{labels[0]} of all trials")
    axis.set_ylabel(f"best {labels[1].replace('_', ' ')}")
    _log_if_wide(axis, [value for _, bests in searches.values() for value in bests])
    if any(searches):
        axis.legend(fontsize=8)
    _save(figure, path)


def draw_parallel(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Plot parallel coordinates: a vertical axis per column and a line per trial, coloured by the last column.

    Axes of numbers are linear, or logarithmic if the numbers span more than a decade; other values are evenly spaced. A
    trial whose last value is not finite is grey.

    Args:
        columns: values of all trials by the name of the column.
        path: the PNG file.
    """
    figure = Figure(figsize=(1.2 + 1.7 * len(columns), 4.4), layout="constrained")
    axis = figure.add_subplot()
    heights = []
    for place, (name, values) in enumerate(columns.items()):
        height, ticks = _heights(values)
        heights.append(height)
        axis.axvline(place, color="0.3", linewidth=1)
        for at, text in ticks:
            axis.text(place + 0.03, at, text, fontsize=7, va="center")
        axis.text(place, 1.06, name.replace("_", " "), fontsize=9, ha="center")
    last = np.array([float(value) for value in list(columns.values())[-1]])
    colours = _colour_scale(last[np.isfinite(last)])
    for line in range(len(last)):
        colour = _colour(colours, float(last[line]))
        axis.plot(range(len(heights)), [height[line] for height in heights], color=colour, linewidth=1.2, alpha=0.8)
    axis.set_xlim(-0.3, len(columns) - 0.6)
    axis.set_ylim(-0.05, 1.12)
    axis.set_axis_off()
    _save(figure, path)


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
    _save(figure, path)


def _colour_scale(values: Sequence[float] | Floats) -> ScalarMappable:
    """A colour scale for values, logarithmic if they are positive and span more than a decade."""
    finite = np.array([value for value in values if math.isfinite(value)] or [0.0])
    low, high = float(finite.min()), float(finite.max())
    scale = LogNorm(low, high) if low > 0 and high > 10 * low else Normalize(low, high)
    return ScalarMappable(scale, "viridis_r")


def _colour(scale: ScalarMappable, value: float) -> Any:
    """The colour of a value; grey if it is not finite."""
    return scale.to_rgba(np.array([value]))[0] if math.isfinite(value) else "0.7"


def _log_if_wide(axis: Axes, values: Sequence[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > 10 * min(finite):
        axis.set_yscale("log")


def _heights(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """The positions of values on an axis from 0 to 1, and its ticks, (position, label)."""
    numbers = all(isinstance(value, int | float) for value in values)
    finite = np.unique([value for value in values if math.isfinite(value)]) if numbers else np.empty(0)
    if len(finite) < 2:
        known = list(dict.fromkeys(map(str, values)))
        places = {text: (index + 0.5) / len(known) for index, text in enumerate(known)}
        return [places[str(value)] for value in values], [(height, text) for text, height in places.items()]
    log = finite[0] > 0 and finite[-1] > 10 * finite[0]
    change = np.log if log else np.asarray
    low, high = float(change(finite[0])), float(change(finite[-1]))
    spaced = np.geomspace if log else np.linspace
    ticks = finite if len(finite) <= 8 else spaced(float(finite[0]), float(finite[-1]), 5)
    return (
        [float((change(value) - low) / (high - low)) for value in values],
        [(float((change(tick) - low) / (high - low)), f"{tick:.3g}") for tick in ticks],
    )


def _sheet(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(2.9 * columns, 3.0 * rows), layout="constrained")
    axes = np.atleast_1d(np.asarray(figure.subplots(rows, columns))).reshape(-1)
    for axis in axes:
        axis.set_axis_off()
    return figure, list(axes)


def _spins(axis: Axes, spins_YXC: Floats, title: str) -> None:
    axis.imshow(spin_colours(spins_YXC), origin="lower", interpolation="nearest")
    axis.set_title(title, fontsize=10)


def _key(axis: Axes) -> None:
    """Draw the key of the colours: a disc of directions, seen from +z, with +z in its centre and -z at its rim."""
    y, x = np.mgrid[-1:1:201j, -1:1:201j]
    radius = np.hypot(x, y)
    polar = np.pi * np.minimum(radius, 1)
    plane = np.sin(polar) / np.maximum(radius, _NONE)
    colours = spin_colours(np.stack([plane * x, plane * y, np.cos(polar)], axis=-1))
    axis.imshow(np.concatenate([colours, (radius <= 1)[..., None]], axis=-1), origin="lower", extent=(-1, 1, -1, 1))
    for text, place in (("x", (1.25, 0)), ("y", (0, 1.25)), ("+z", (0, 0))):
        axis.annotate(text, place, ha="center", va="center", fontsize=8, annotation_clip=False)
    axis.set_axis_off()


def _magnitude(axis: Axes, values_YX: Floats, title: str) -> None:
    most = float(np.quantile(values_YX, 0.99))
    picture = axis.imshow(values_YX, origin="lower", cmap="magma", vmin=0, vmax=most, interpolation="nearest")
    axis.set_title(title, fontsize=10)
    axis.figure.colorbar(picture, ax=axis, shrink=0.75)


def _against(axis: Axes, truth_YXC: Floats, estimate_YXC: Floats) -> None:
    """Plot the estimate against the exact field by component, for every seventh site."""
    axis.set_axis_on()
    for component, (name, colour) in enumerate(zip("xyz", ("tab:red", "tab:green", "tab:blue"))):
        truth, estimate = truth_YXC[..., component].ravel(), estimate_YXC[..., component].ravel()
        axis.plot(truth[::7], estimate[::7], ".", markersize=1, color=colour, label=name, alpha=0.5)
    ends = [float(truth_YXC.min()), float(truth_YXC.max())]
    axis.plot(ends, ends, "k-", linewidth=1)
    axis.set_xlabel("exact field (J)")
    axis.set_ylabel("estimated field (J)")
    axis.legend(markerscale=8, fontsize=8)


def _curves(axis: Axes, curves: Mapping[str, Sequence[float]], x_label: str, y_label: str, first: int = 0) -> None:
    axis.set_axis_on()
    for name, values in curves.items():
        axis.plot(range(first, first + len(values)), values, ".-", label=name)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.legend(fontsize=8)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        # Without time stamps and versions, so that the same data gives the same file.
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
