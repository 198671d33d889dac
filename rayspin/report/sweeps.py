"""The blocks of a sweep: the best trial, heat maps, parallel coordinates, curves of the trials, and the table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from rayspin.analysis.figures import suits_log
from rayspin.jobs.tune.ledger import Entry, Ledger
from rayspin.jobs.tune.space import short_names
from rayspin.report import blocks, charts
from rayspin.report.blocks import Block, Chart
from rayspin.report.tables import Row, names
from rayspin.rundir import RunDir, Table
from rayspin.training import read_metrics

SHOWN_TRIALS = 40
"""Largest number of trials in the table, the best first."""
SHOWN_CURVES = 40
"""Largest number of trials whose curves are drawn, the best first."""


def sweep_blocks(run: RunDir, job: Table) -> list[Block]:
    """Return the blocks of a sweep, of the trials that have a result so far.

    Args:
        run: folder of the sweep.
        job: its job.

    Raises:
        InputError: the ledger or the metrics of a trial are damaged.
    """
    metric, sign = str(job["metric"]), -1 if job["goal"] == "max" else 1
    trials = Ledger(run.path).trials
    short = short_names(list(job["space"]))
    rows = [_row(name, entry, short, metric) for name, entry in trials.items()]
    rows = sorted((row for row in rows if math.isfinite(row[metric])), key=lambda row: sign * row[metric])
    if not rows:
        return []
    keys = list(short.values())
    found: list[Block] = []
    if len(keys) == 2 and len(rows) > 1:
        found.append(_heat_map(rows, keys, metric))
    if len(rows) > 1:
        text = "A line for each trial, from its parameters to its result. Drag along an axis to select trials."
        found.append(charts.parallel("Trials", text, {key: [row[key] for row in rows] for key in [*keys, metric]}))
    return [*found, *_curves(run.path, rows, metric), _table(rows, keys, metric)]


def _row(name: str, entry: Entry, short: dict[str, str], metric: str) -> Row:
    """Return the row of a trial: its parameters, last result, epochs (or samples), state and name."""
    last = max(entry.results, default=None)
    figures = {} if last is None else entry.results[last]
    return {
        **{short[key]: _plain(value) for key, value in entry.point.items() if key in short},
        metric: figures.get(metric, math.nan),
        "epochs": 0 if last is None else entry.epochs[last],
        "state": entry.ended or ("running" if entry.started else "waiting"),
        "trial": name,
    }


def _heat_map(rows: list[Row], keys: list[str], metric: str) -> Chart:
    first, second = ([*sorted(set(names(rows, key)), key=_order)] for key in keys)
    values = np.full((len(first), len(second)), math.nan)
    for row in rows:
        # The best trial is listed first, so that it represents trials with the same parameters.
        place = first.index(row[keys[0]]), second.index(row[keys[1]])
        if math.isnan(values[place]):
            values[place] = row[metric]
    label = metric.replace("_", " ")
    axes = [(key.replace("_", " "), list(map(charts.shown, axis))) for key, axis in zip(keys, (first, second))]
    text = f"Result of each trial: {label}."
    return charts.heat_map("Heat map", text, values, axes[0], axes[1], label, log=suits_log(values))


def _curves(folder: Path, rows: list[Row], metric: str) -> list[Block]:
    lines = {}
    for row in rows[:SHOWN_CURVES]:
        history = [line for line in read_metrics(folder / "trials" / row["trial"]) if metric in line]
        if history:
            lines[_label(row, metric)] = [line["epoch"] for line in history], [line[metric] for line in history]
    if not lines:
        return []
    positive = all(value > 0 for _, values in lines.values() for value in values)
    label = metric.replace("_", " ")
    text = f"{label[0].upper()}{label[1:]} after each epoch, the best trials first."
    return [charts.curves("Curves of the trials", text, lines, ("epoch", label), log=(False, positive))]


def _label(row: Row, metric: str) -> str:
    kept = {key: value for key, value in row.items() if key not in {metric, "epochs", "state", "trial"}}
    return ", ".join(f"{key} {charts.shown(value)}" for key, value in kept.items())


def _table(rows: list[Row], keys: list[str], metric: str) -> blocks.Table:
    columns = ["trial", *keys, metric, "epochs", "state"]
    body = [[charts.shown(row.get(column, "")) for column in columns] for row in rows[:SHOWN_TRIALS]]
    left = len(rows) - len(body)
    note = f"{left} more trials are in the table of the sweep, trials.csv." if left else ""
    return blocks.Table("Trials, the best first", [column.replace("_", " ") for column in columns], body, note)


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)


def _order(value: Any) -> tuple[bool, Any]:
    """Sort numbers before names."""
    return isinstance(value, str), value
