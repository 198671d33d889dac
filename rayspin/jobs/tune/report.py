"""Results of a sweep: a tidy table as CSV and NetCDF, the best trial as a job file, and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tomli_w

from rayspin.analysis import figures
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.tables import as_csv
from rayspin.jobs.tune.mlflow_log import LoggedTrial
from rayspin.jobs.tune.schedulers import TrialState
from rayspin.jobs.tune.segment_queue import SegmentQueue
from rayspin.jobs.tune.space import Axis, Values, short_names, shown
from rayspin.jobs.tune.trials import Trial
from rayspin.paths import command
from rayspin.rundir import RunDir, Summary, write_text
from rayspin.storage import write_grid
from rayspin.training import Line, read_metrics

Row = dict[str, Any]

SHOWN_FAILURES = 5


@dataclass(frozen=True)
class Report:
    """Writes the results of a finished sweep, in the order of its trials.

    Attributes:
        run: folder of the sweep.
        space: axes of the search space by dotted key.
        metric: (name of the metric that trials are compared by, whether it is maximized instead of minimized).
        queue: scheduler and ledger of the sweep.
        grid: whether the trials are all combinations of the axes.
    """

    run: RunDir
    space: dict[str, Axis]
    metric: tuple[str, bool]
    queue: SegmentQueue
    grid: bool

    def write(self) -> Summary:
        """Write table, best job and pictures to the folder of the sweep, and return the summary."""
        trial_states = self._unique()
        rows = [self.row(state) for state in trial_states]
        write_text(self.run.path / "trials.csv", as_csv(_filled(rows)))
        self._write_netcdf(rows)
        ends = [row["state"] for row in rows]
        counts = ", ".join(f"{ends.count(end)} {end}" for end in ("done", "stopped", "failed") if end in ends)
        ranked = [(self.queue.value(row), index) for index, row in enumerate(rows) if self.metric[0] in row]
        if not ranked:
            return Summary("sweep", {"trials": counts, "table": "trials.csv, trials.nc"})
        _, best = min(ranked)
        self._write_best(trial_states[best].trial, rows[best])
        return Summary(
            "sweep",
            {
                "trials": f"{len(rows)}: {counts}",
                **{f"best {key}": shown(value) for key, value in trial_states[best].trial.point},
                f"best {self.metric[0]}": f"{rows[best][self.metric[0]]:.5g}",
                "time in trials": f"{self.queue.ledger.seconds:.0f} s",
                "table": "trials.csv, trials.nc",
            },
            self._draw(trial_states, rows),
            (
                command("run", self.run.path / "best.toml"),
                command("show", trial_states[best].trial.folder(self.run).path),
            ),
        )

    def row(self, state: TrialState) -> Row:
        """Return the row of a trial: its point, metrics, number of epochs (or samples), end and name."""
        trial = state.trial
        entry = self.queue.ledger.trials[trial.name]
        reached = max((until for until in entry.results if until <= state.until), default=0)
        return {
            **dict(trial.point),
            **entry.results.get(reached, {}),
            self._budget_name: entry.epochs.get(reached, 0),
            "state": state.end,
            "trial": trial.name,
            **({"parent": trial.parent[0] if trial.parent else ""} if self._branches else {}),
            "error": entry.error if state.end == "failed" else "",
        }

    def logged(self) -> list[LoggedTrial]:
        """Return the trials for MLflow, each with its metrics after every epoch."""
        return [self._logged(state) for state in self._unique()]

    def _logged(self, state: TrialState) -> LoggedTrial:
        trial, row = state.trial, self.row(state)
        done = row[self._budget_name]
        history = self._history(state)
        figures: list[tuple[int, Mapping[str, float]]] = [(int(line["epoch"]), line) for line in history]
        if self._generates:
            figures = [(done, self.queue.ledger.trials[trial.name].results.get(done, {}))]
        return LoggedTrial(
            name=trial.name,
            state=f"{state.end} after {done} {self._budget_name}",
            failed=state.end == "failed",
            parameters=dict(trial.point),
            figures=figures,
            tags={
                "rayspin.folder": str(trial.folder(self.run).path),
                **({"error": row["error"]} if row["error"] else {}),
            },
        )

    def _history(self, state: TrialState) -> list[Line]:
        """Return the metrics of a training up to the last epoch that this sweep uses."""
        return read_metrics(state.trial.folder(self.run).path)[: state.until]

    @property
    def _budget_name(self) -> str:
        return "samples" if self._generates else "epochs"

    @property
    def _generates(self) -> bool:
        return any(isinstance(state.trial.job, Generate) for state in self.queue.scheduler.trial_states()[:1])

    @property
    def _branches(self) -> bool:
        return any(state.trial.parent for state in self.queue.scheduler.trial_states())

    def _unique(self) -> list[TrialState]:
        return list({state.trial.name: state for state in self.queue.scheduler.trial_states()}.values())

    def _write_best(self, trial: Trial, row: Row) -> None:
        table = trial.job.to_table()
        if (dataset := trial.dataset(self.run)) is not None:
            table["dataset"] = str(dataset)
            # Use the number of workers of the trial: rounding errors depend on it.
            table["resources"].setdefault("workers", 1)
        header = f"# The best trial of {self.run.path} ({self.metric[0]} {row[self.metric[0]]:.6g}): {trial.label}.\n"
        if trial.parent is not None:
            parent, epochs = trial.parent
            header += (
                f"# It continues trial {parent} after epoch {epochs}, whereas this job starts from the beginning.\n"
                f"# The results of the trial itself are in {trial.folder(self.run).path}.\n"
            )
        write_text(self.run.path / "best.toml", header + tomli_w.dumps(table))

    def _write_netcdf(self, rows: list[Row]) -> None:
        numbers = sorted({name for row in rows for name, value in row.items() if _is_number(value)} - set(self.space))
        texts = ["state", "trial"]
        names = short_names(list(self.space), {*numbers, *texts, "number"})
        axes: dict[str, Sequence[Any]] = {"number": range(len(rows))}
        if self.grid:
            axes = {names[key]: axis.values for key, axis in self.space.items() if isinstance(axis, Values)}
        shape = tuple(len(values) for values in axes.values())
        places = [self._place(row) for row in rows] if self.grid else [(number,) for number in range(len(rows))]
        variables: dict[str, Any] = {}
        for name in [*numbers, *texts]:
            values = np.full(shape, math.nan) if name in numbers else np.full(shape, "", dtype=object)
            for place, row in zip(places, rows):
                values[place] = row.get(name, math.nan if name in numbers else "")
            variables[name] = (tuple(axes), values)
        if not self.grid:
            for key, name in names.items():
                variables[name] = (("number",), _column([row[key] for row in rows]))
        attributes = {"title": "sweep", "metric": self.metric[0], "goal": "max" if self.metric[1] else "min"}
        write_grid(self.run.path / "trials.nc", axes, variables, attributes, {names[key]: key for key in self.space})

    def _place(self, row: Row) -> tuple[int, ...]:
        return tuple(axis.values.index(row[key]) for key, axis in self.space.items() if isinstance(axis, Values))

    def _draw(self, trial_states: list[TrialState], rows: list[Row]) -> tuple[str, ...]:
        """Draw the pictures that apply to the sweep; return their names, the most informative one last."""
        metric = self.metric[0]
        drawn = []
        curves = [] if self._generates else [self._curve(state) for state in trial_states]
        if any(curves):
            values = [row.get(metric, math.nan) for row in rows]
            figures.draw_sweep_curves(curves, values, metric, self.run.path / "curves.png")
            drawn.append("curves.png")
        budgets, bests = self._best_against_budget()
        figures.draw_bests({"": (budgets, bests)}, (self._budget_name, metric), self.run.path / "best.png")
        drawn.append("best.png")
        names = short_names(list(self.space))
        if self.grid and len(self.space) == 2:
            rows_axis, columns_axis = self.space.values()
            assert isinstance(rows_axis, Values)
            assert isinstance(columns_axis, Values)
            values_grid = np.full((len(rows_axis.values), len(columns_axis.values)), math.nan)
            for row in rows:
                values_grid[self._place(row)] = row.get(metric, math.nan)
            drawn.append(self._draw_table(values_grid, names, rows_axis.values, columns_axis.values))
        else:
            columns = {names[key]: [row[key] for row in rows] for key in self.space}
            columns[metric] = [row.get(metric, math.nan) for row in rows]
            figures.draw_parallel(columns, self.run.path / "parallel.png")
            drawn.append("parallel.png")
        return tuple(drawn)

    def _draw_table(self, values: Any, names: dict[str, str], rows: tuple[Any, ...], columns: tuple[Any, ...]) -> str:
        """Draw a phase diagram if the trials are datasets and both axes ascending numbers, otherwise a heat map."""
        first, second = names.values()
        title = f"{self.metric[0].replace('_', ' ')} of the trials"
        if self._generates and _ascending(rows) and _ascending(columns):
            figures.draw_phase_diagram(
                values, (first, rows), (second, columns), title, self.run.path / "phase_diagram.png"
            )
            return "phase_diagram.png"
        ticks = [[shown(value) for value in axis] for axis in (rows, columns)]
        figures.draw_heat_map(values, (first, ticks[0]), (second, ticks[1]), title, self.run.path / "heat_map.png")
        return "heat_map.png"

    def _curve(self, state: TrialState) -> list[float]:
        return [line[self.metric[0]] for line in self._history(state) if self.metric[0] in line]

    def _best_against_budget(self) -> tuple[list[int], list[float]]:
        """Return the total epochs (or samples) and the best metric after each result, in order of arrival."""
        ours = {state.trial.name for state in self.queue.scheduler.trial_states()}
        spent, best = 0, math.inf
        budgets, bests = [], []
        before: dict[str, int] = {}
        for name, until in self.queue.ledger.order:
            if name not in ours:
                continue
            entry = self.queue.ledger.trials[name]
            done = entry.epochs[until]
            spent += max(done - before.get(name, 0), 0)
            before[name] = max(done, before.get(name, 0))
            best = min(best, self.queue.value(entry.results[until]))
            budgets.append(spent)
            bests.append(-best if self.metric[1] else best)
        return budgets, bests


def failures(run: RunDir, trial_states: Sequence[TrialState], queue: SegmentQueue) -> list[str]:
    """Describe each failed trial in one line: its point, error and folder.

    Args:
        run: folder of the sweep.
        trial_states: trials of the sweep.
        queue: queue whose ledger has the errors.
    """
    return [
        f"{state.trial.label}: {queue.ledger.trials[state.trial.name].error} ({state.trial.folder(run).path})"
        for state in trial_states
        if state.end == "failed"
    ]


def _filled(rows: list[Row]) -> list[Row]:
    """Return the rows with identical columns; missing values are empty."""
    longest = max(range(len(rows)), key=lambda index: len(rows[index]))
    names = dict.fromkeys([*rows[longest], *sorted({name for row in rows for name in row})])
    return [{name: _plain(row.get(name, "")) for name in names} for row in rows]


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list | tuple) else value


def _column(values: list[Any]) -> Any:
    return (
        np.array(values) if all(map(_is_number, values)) else np.array([str(_plain(value)) for value in values], object)
    )


def _ascending(values: Sequence[Any]) -> bool:
    return len(values) > 1 and all(map(_is_number, values)) and list(values) == sorted(set(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
