"""Sweep any key of a job over a grid with Ray Tune.

A trial is a job of its own: its folder is named by the hash of its resolved job. So a sweep that was killed runs
what is missing, and a larger grid runs only its new points.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import logging
import shutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic

from rayspin.analysis.figures import draw_heat_map
from rayspin.cluster.stage import Context, Plan, Stage, build_stage
from rayspin.cluster.tables import as_csv
from rayspin.cluster.train import Training
from rayspin.config import replace_key
from rayspin.errors import InputError, RunError
from rayspin.progress import polling
from rayspin.rundir import RunDir, Summary, Table, write_text

Value = bool | int | float | str
Point = tuple[tuple[str, Value], ...]
"""A place in the search space: (dotted key, value) for every axis."""


def _training(table: Any) -> Any:
    if not isinstance(table, Mapping):
        return table
    stage = build_stage(table, "")
    if not isinstance(stage, Training):
        raise InputError("kind", f"{stage.kind!r} can't be swept", "sweep a training: train-fcn or train-sr")
    return stage


@dataclass(frozen=True)
class Trial:
    """One point of a sweep."""

    name: str
    """Hash of the trial's resolved job: its folder."""
    point: Point
    job: Training

    @property
    def label(self) -> str:
        """The point as people read it."""
        return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in self.point)


class Tune(Stage):
    """A grid over dotted keys of a training."""

    # Trials are known by their own jobs; another grid or another base only makes other trials.
    may_change: ClassVar[frozenset[str]] = frozenset({"base.*", "space.*", "metric"})

    kind: Literal["tune"] = "tune"
    base: Annotated[
        pydantic.SerializeAsAny[Training],
        pydantic.BeforeValidator(_training, json_schema_input_type=dict[str, Any]),
    ]
    """A complete training job."""
    space: dict[str, tuple[Value, ...]] = pydantic.Field(min_length=1)
    """Dotted key of the base job: the values to try."""
    metric: str = "validation_loss"
    """The figure that says which trial is best; the least is."""

    @pydantic.model_validator(mode="after")
    def _every_trial_is_a_job(self) -> Tune:
        for key, values in self.space.items():
            if not values:
                raise InputError(f"space.{key}", "no values", "give at least one")
        self.trials()
        return self

    def trials(self) -> list[Trial]:
        """Every point of the grid as a checked job.

        Raises:
            InputError: a key or a value that the base job doesn't take.
        """
        axes = [[(key, value) for value in values] for key, values in self.space.items()]
        return [self._trial(point) for point in itertools.product(*axes)]

    def _trial(self, point: Point) -> Trial:
        table: Table = copy.deepcopy(self.base.to_table())
        for key, value in point:
            replace_key(table, key, value, f"space.{key}")
        try:
            job = _training(table)
        except InputError as error:
            raise InputError(f"space: {error.where}", error.problem, error.remedy) from None
        name = hashlib.sha256(json.dumps(job.identity(), sort_keys=True).encode()).hexdigest()[:12]
        return Trial(name, point, job)

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Every trial is checked like a job of its own."""
        run.check_same(self.identity(), self.may_change)
        for trial in self.trials():
            try:
                trial.job.check(_folder(run, trial), earlier)
            except InputError as error:
                raise InputError(f"trial with {trial.label}: {error.where}", error.problem, error.remedy) from None

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """The trials still to run, each with the cost of its training."""
        trials = self.trials()
        left = _unfinished(run, trials)
        costs = [trial.job.plan(_folder(run, trial), earlier) for trial in left]
        figures = {"trials": f"{len(trials)}, {len(trials) - len(left)} done"}
        return Plan("tune", figures, sum(cost.core_seconds for cost in costs), sum(cost.bytes for cost in costs))

    def run(self, run: RunDir, context: Context) -> Summary:
        """Run the missing trials, as many at a time as there are CPUs; then the table and the picture."""
        trials = self.trials()
        left = _unfinished(run, trials)
        if left:
            done = len(trials) - len(left)
            with (
                context.progress.track("trials", len(trials), "trial", done) as track,
                polling(lambda: track.update(len(trials) - len(_unfinished(run, left)))),
            ):
                _ray_tune(context, run, left)
        failed = _unfinished(run, trials)
        if failed:
            errors = _folder(run, failed[0]).path / "error.txt"
            raise RunError(
                f"{run.path}",
                f"{len(failed)} of {len(trials)} trials failed, the first with {failed[0].label}",
                f"see {errors}; the same command tries them again",
            )
        return self._summary(run, trials)

    def _summary(self, run: RunDir, trials: list[Trial]) -> Summary:
        rows = [dict(trial.point) | _figures(run, trial) | {"trial": trial.name} for trial in trials]
        for row in rows:
            if self.metric not in row:
                raise InputError("metric", f"no trial reports {self.metric!r}", "known: " + ", ".join(row))
        write_text(run.path / "trials.csv", as_csv(rows))
        best = min(rows, key=lambda row: float(row[self.metric]))
        pictures = ("trials.png",) if self._draw(run, rows) else ()
        shown = {key: f"{best[key]}" for key in self.space}
        return Summary(
            f"best of {len(trials)} trials",
            {**shown, self.metric: f"{float(best[self.metric]):.5g}", "table": "trials.csv"},
            pictures,
            (f"rayspin show {run.path / 'trials' / str(best['trial'])}",),
        )

    def _draw(self, run: RunDir, rows: list[dict[str, Any]]) -> bool:
        """A heat map, for a sweep of two axes."""
        if len(self.space) != 2:
            return False
        (first, first_values), (second, second_values) = self.space.items()
        shape = (len(first_values), len(second_values))
        values = np.array([float(row[self.metric]) for row in rows]).reshape(shape)
        first_ticks, second_ticks = (
            [str(value) for value in first_values],
            [str(value) for value in second_values],
        )
        title = self.metric.replace("_", " ")
        draw_heat_map(values, (first, first_ticks), (second, second_ticks), title, run.path / "trials.png")
        return True


def _folder(run: RunDir, trial: Trial) -> RunDir:
    return run.child("trials").child(trial.name)


def _unfinished(run: RunDir, trials: list[Trial]) -> list[Trial]:
    return [trial for trial in trials if _folder(run, trial).finished(trial.job.identity()) is None]


def _figures(run: RunDir, trial: Trial) -> dict[str, float]:
    """The last figures of a finished trial."""
    lines = (_folder(run, trial).path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    figures: dict[str, float] = json.loads(lines[-1])
    return figures


def _ray_tune(context: Context, run: RunDir, trials: list[Trial]) -> None:
    """Run the trials over Ray Tune, one CPU each. Whatever befalls a trial, the others go on."""
    context.session.ray()
    from ray import tune

    # Failed trials are told by the sweep itself, once and with their cause.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)

    by_name = {trial.name: trial for trial in trials}
    # A trial's working directory is Ray's own.
    here = RunDir(run.path.resolve(), run.root.resolve())
    datasets = {name: run.locate(trial.job.dataset).resolve() for name, trial in by_name.items()}

    def work(config: dict[str, str]) -> None:
        name = config["trial"]
        tune.report(_run_trial(by_name[name], here, datasets[name]))

    scratch = here.path / ".ray"
    try:
        tune.Tuner(
            tune.with_resources(work, {"cpu": 1}),
            param_space={"trial": tune.grid_search(list(by_name))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(name="tune", storage_path=str(scratch), verbose=0),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_trial(trial: Trial, run: RunDir, dataset: Path) -> dict[str, float]:
    """Train one point in this process and mark its folder as ended: its last figures.

    An error is kept in the trial's folder; it is the trial's alone.
    """
    folder = _folder(run, trial)
    try:
        with folder.claimed(trial.job.identity(), trial.job.may_change):
            trial.job.fit(dataset, folder.path)
            folder.finish(trial.job.summary(folder))
    except Exception:
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.path / "error.txt", traceback.format_exc())
        raise
    return _figures(run, trial)
