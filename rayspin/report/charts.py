"""Charts of plotly, with values on hover. The page sets the colors of text and grid lines, for light or dark."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rayspin.analysis.figures import Floats, suits_log
from rayspin.report.blocks import Chart, Table

Curve = tuple[Sequence[float], Sequence[float]]

PALETTE = ("#1f83c4", "#d9622b", "#10a37a", "#c96fa4", "#b38a1a", "#4fb0e6", "#868c92", "#9a62dc")
"""Colors after Okabe and Ito, which color-blind readers can tell apart, in shades that suit white and black."""

DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")

MOST_POINTS = 400
"""Largest number of points of a curve; longer ones are thinned."""
MOST_TABLE_ROWS = 60
"""Largest number of rows of the table that accompanies a chart; longer tables are thinned."""

_HEIGHT = 360


def curves(
    title: str,
    description: str,
    values: Mapping[str, Curve],
    labels: tuple[str, str],
    *,
    log: tuple[bool, bool] = (False, False),
) -> Chart:
    """Return a chart of curves.

    Args:
        title: caption.
        description: how to read the chart.
        values: (x, y) of each curve by its name; values that are not finite are gaps.
        labels: labels of the axes.
        log: whether the x and the y axis are logarithmic.
    """
    traces = []
    for number, (name, curve) in enumerate(values.items()):
        x, y = (thinned(axis) for axis in curve)
        marker = {"size": 5, "symbol": SYMBOLS[number // len(PALETTE) % len(SYMBOLS)]}
        traces.append(
            go.Scatter(
                x=_finite(x),
                y=_finite(y),
                name=name,
                mode="lines+markers" if len(x) <= 60 else "lines",
                line={"color": PALETTE[number % len(PALETTE)], "dash": DASHES[number % len(DASHES)], "width": 2},
                marker=marker,
                hovertemplate=f"%{{x:.4~g}}, %{{y:.4~g}}<extra>{name}</extra>",
            )
        )
    layout = _layout(labels)
    layout["xaxis"]["type"], layout["yaxis"]["type"] = ("log" if each else "linear" for each in log)
    if log[1]:
        layout["yaxis"]["exponentformat"] = "power"
    return Chart(title, description, _figure(traces, layout), _curve_table(title, values, labels))


def histogram(title: str, description: str, groups: Mapping[str, Floats], label: str, count: str = "samples") -> Chart:
    """Return histograms with common bins.

    Args:
        title: caption.
        description: how to read the chart.
        groups: values (n,) by the name of the histogram.
        label: label of the values.
        count: label of the counts.
    """
    every = np.concatenate(list(groups.values()))
    low, high = float(every.min()), float(every.max())
    # Values that are equal up to rounding would give bins of width zero.
    margin = max((high - low) * 0.02, 1e-6 * max(abs(low), abs(high), 1e-6))
    edges = np.linspace(low - margin, high + margin, min(40, 10 + every.size // 20) + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    traces, rows = [], []
    for number, (name, values) in enumerate(groups.items()):
        counts = np.histogram(values, edges)[0]
        traces.append(
            go.Bar(
                x=centers.tolist(),
                y=counts.tolist(),
                width=float(edges[1] - edges[0]),
                name=name,
                marker={"color": PALETTE[number % len(PALETTE)], "opacity": 0.65 if len(groups) > 1 else 0.9},
                hovertemplate=f"{label} %{{x:.5~g}}: %{{y}} {count}<extra>{name}</extra>",
            )
        )
        spread = (np.mean(values), np.std(values), np.min(values), np.median(values), np.max(values))
        rows.append([name, str(len(values)), *(f"{value:.5g}" for value in spread)])
    layout = _layout((label, count))
    layout |= {"barmode": "overlay", "bargap": 0}
    table = Table(title, ("group", "number", "mean", "standard deviation", "least", "median", "largest"), rows)
    return Chart(title, description, _figure(traces, layout), table)


def distributions(
    title: str, description: str, groups: Mapping[str, Sequence[float]], label: str, *, log: bool = False
) -> Chart:
    """Return a line of dots with a box for each group of values.

    Args:
        title: caption.
        description: how to read the chart.
        groups: values by the name of the group.
        label: label of the values.
        log: whether the axis of the values is logarithmic.
    """
    traces = [
        go.Box(
            x=list(thinned(values)),
            name=name,
            boxpoints="all" if len(values) <= MOST_POINTS else "outliers",
            jitter=0.5,
            pointpos=0,
            marker={"color": PALETTE[number % len(PALETTE)], "size": 4, "opacity": 0.6},
            line={"width": 1.2},
            hovertemplate="%{x:.4~g}<extra>" + name + "</extra>",
        )
        for number, (name, values) in enumerate(groups.items())
    ]
    layout = _layout((label, ""))
    layout["xaxis"]["type"] = "log" if log else "linear"
    layout["xaxis"]["exponentformat"] = "power" if log else "B"
    # Names that are numbers would otherwise be positions along the axis.
    layout["yaxis"] |= {"type": "category", "autorange": "reversed", "automargin": True}
    layout |= {"showlegend": False, "height": 110 + 34 * max(len(groups), 2)}
    rows = [
        [name, str(len(values)), *(f"{function(values):.4g}" for function in (np.mean, np.median, np.min, np.max))]
        for name, values in groups.items()
    ]
    table = Table(title, ("group", "number", "mean", "median", "least", "largest"), rows)
    return Chart(title, description, _figure(traces, layout), table)


def heat_map(
    title: str,
    description: str,
    values: Floats,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    label: str,
    *,
    log: bool = False,
) -> Chart:
    """Return a table of values as colors.

    Args:
        title: caption.
        description: how to read the chart.
        values: (rows, columns) values; NaN marks missing ones.
        rows: label and tick labels of the first axis.
        columns: label and tick labels of the second axis.
        label: label of the values.
        log: whether the colors follow the logarithm of the values.
    """
    positive = np.where(values > 0, values, math.nan)
    colors = np.log10(positive) if log else values
    texts = [[f"{value:.3g}" if math.isfinite(value) else "" for value in row] for row in values]
    few = max(values.shape) <= 12
    trace = go.Heatmap(
        z=_nested(colors),
        x=list(columns[1]),
        y=list(rows[1]),
        text=texts,
        texttemplate="%{text}" if few else None,
        colorscale="Viridis",
        colorbar={"title": {"text": f"log10 {label}" if log else label, "side": "right"}, "thickness": 12},
        hovertemplate=f"{rows[0]} %{{y}}<br>{columns[0]} %{{x}}<br>{label} %{{text}}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    layout = _layout((columns[0], rows[0]))
    layout["xaxis"] |= {"type": "category", "showgrid": False}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "autorange": "reversed", "automargin": True}
    layout["height"] = 150 + (40 if few else 14) * max(values.shape[0], 3)
    table = Table(title, (rows[0], *columns[1]), [[name, *texts[number]] for number, name in enumerate(rows[1])])
    return Chart(title, description, _figure([trace], layout), table if few else None)


def parallel(title: str, description: str, columns: Mapping[str, Sequence[Any]]) -> Chart:
    """Return parallel coordinates: an axis per column and a line per trial, colored by the last column.

    Args:
        title: caption.
        description: how to read the chart.
        columns: values of all trials by the name of the column; those of the last one are numbers.
    """
    last = np.array([float(value) for value in list(columns.values())[-1]])
    kept = [number for number, value in enumerate(last) if math.isfinite(value)]
    dimensions = [_dimension(name, [values[number] for number in kept]) for name, values in columns.items()]
    shades = np.log10(last[kept]) if suits_log(last[kept]) else last[kept]
    trace = go.Parcoords(
        dimensions=dimensions,
        line={"color": shades.tolist(), "colorscale": "Viridis"},
        labelside="top",
        labelangle=0,
    )
    layout = {"height": 380, "margin": {"l": 70, "r": 60, "t": 50, "b": 24}}
    rows = [[shown(values[number]) for values in columns.values()] for number in kept[:MOST_TABLE_ROWS]]
    return Chart(title, description, _figure([trace], layout), Table(title, list(columns), rows))


def thinned(values: Sequence[float], most: int = MOST_POINTS) -> list[float]:
    """Return at most `most` of the values, evenly spaced, with the first and the last one."""
    if len(values) <= most:
        return list(values)
    places = np.linspace(0, len(values) - 1, most).round().astype(int)
    return [values[place] for place in places]


def shown(value: Any) -> str:
    """Return a value for a table: numbers with five digits."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _dimension(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return an axis of parallel coordinates: numbers, their logarithms if they span a decade, or names."""
    label = name.replace("_", " ")
    if all(isinstance(value, int | float) for value in values):
        numbers = np.array(values, float)
        if not suits_log(numbers):
            return {"label": label, "values": numbers.tolist()}
        ticks = np.geomspace(numbers.min(), numbers.max(), 5)
        texts = [f"{tick:.3g}" for tick in ticks]
        return {"label": label, "values": np.log10(numbers).tolist(), "tickvals": np.log10(ticks), "ticktext": texts}
    known = list(dict.fromkeys(map(str, values)))
    places = [known.index(str(value)) for value in values]
    return {"label": label, "values": places, "tickvals": list(range(len(known))), "ticktext": known}


def _curve_table(title: str, values: Mapping[str, Curve], labels: tuple[str, str]) -> Table:
    """Return the curves as a table with a column for each, at all their values of x."""
    every = sorted({x for xs, _ in values.values() for x in xs})
    by_x = [dict(zip(*curve)) for curve in values.values()]
    rows = [
        [f"{x:.4g}", *(f"{curve[x]:.4g}" if x in curve else "" for curve in by_x)]
        for x in thinned(every, MOST_TABLE_ROWS)
    ]
    columns = [f"{labels[1]}, {name}" if len(values) == 1 else name for name in values]
    return Table(title, (labels[0], *columns), rows)


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _nested(values: Floats) -> list[list[float | None]]:
    return [_finite(row.tolist()) for row in values]


def _layout(labels: tuple[str, str]) -> dict[str, Any]:
    x, y = ({"title": {"text": label, "standoff": 8}, "automargin": True, "zeroline": False} for label in labels)
    return {
        "height": _HEIGHT,
        "margin": {"l": 64, "r": 16, "t": 12, "b": 52},
        "xaxis": x,
        "yaxis": y,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "hovermode": "closest",
    }


def _figure(traces: Sequence[Any], layout: Mapping[str, Any]) -> dict[str, Any]:
    figure = go.Figure(
        traces, {**layout, "template": None, "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
    )
    plain: dict[str, Any] = json.loads(figure.to_json())
    return plain
