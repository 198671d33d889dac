"""Sweep keys of a job: grid search, random search, Optuna or population-based training, with optional early stopping.

A trial is a job in a folder of its own, named by the hash of the resolved job. The ledger of the sweep
(`rayspin.jobs.tune.ledger`) records what has run. A resumed sweep runs only the missing segments, and a sweep with a
larger space or more trials runs only the new ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from rayspin.config import Config, Name, suggestion
from rayspin.errors import InputError, RunError
from rayspin.jobs.generate.facts import DatasetFacts
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.stage import Context, Plan, Stage, execute
from rayspin.jobs.train.job import Training
from rayspin.jobs.tune.ledger import Ledger
from rayspin.jobs.tune.mlflow_log import log_trials, mlflow_module
from rayspin.jobs.tune.population import PopulationScheduler
from rayspin.jobs.tune.report import Report, failures
from rayspin.jobs.tune.schedulers import Asha, Halving, Scheduler
from rayspin.jobs.tune.search import Grid, Listed, Optuna, OptunaSource, Population, Random, Search, optuna_module
from rayspin.jobs.tune.segment_queue import SegmentQueue
from rayspin.jobs.tune.segments import SegmentRunner, reported
from rayspin.jobs.tune.space import Space, Values
from rayspin.jobs.tune.trials import DATASETS, TRIALS, Job, Trial, TrialBuilder, sweepable
from rayspin.progress import polling
from rayspin.rundir import RunDir, Summary, Table
from rayspin.training import branch

CALIBRATED = 3
"""Maximum number of trials whose cost is measured for a plan."""

FIXED = ("training.epochs", "training.seed", "objective.target")
"""Keys of training and objective that a population can't change during a training."""


class TrialResources(Config):
    """Division of the cluster between the trials. The resources of one trial are in the base job."""

    concurrent: int | None = pydantic.Field(default=None, gt=0)
    """Maximum number of trials that run at the same time; default: as many as fit."""
    trials_per_gpu: int = pydantic.Field(default=1, gt=0)
    """Number of trials that share a GPU, for trials with one worker and a GPU."""
    memory_gib: float | None = pydantic.Field(default=None, gt=0)
    """Memory that a trial with one worker may allocate, GiB; a trial that exceeds it fails. Default: unlimited."""
    retries: int = pydantic.Field(default=1, ge=0)
    """Number of times that a trial is run again after an exception. Errors of the job, such as a loss that is not
    finite, are not retried."""


def _first_figure(fields: dict[str, Any]) -> str:
    return "energy" if isinstance(fields.get("base"), Generate) else "validation_loss"


class Tune(Stage):
    """A sweep over keys of a training or of the generation of a dataset."""

    # A trial is named by its own job, so another space or base only adds trials.
    may_change: ClassVar[frozenset[str]] = frozenset(
        {"base.*", "space.*", "datasets.*", "search.*", "asha.*", "asha", "metric", "goal"}
    )

    kind: Literal["tune"] = "tune"
    base: Annotated[
        pydantic.SerializeAsAny[Job],
        pydantic.BeforeValidator(sweepable, json_schema_input_type=dict[str, Any]),
    ]
    """Complete job of kind train-fcn, train-sr or generate."""
    space: Space
    """Axes of the sweep: values or a range for dotted keys of the base job or of `datasets`. At most 20,000 trials."""
    datasets: dict[Name, Generate] = pydantic.Field(default_factory=dict)
    """Datasets that the sweep generates before its trials; the base job refers to them as `@name`. If an axis changes a
    key of a dataset, each distinct dataset is generated once."""
    search: Search = Grid()
    """Search method: grid, random, optuna or population."""
    asha: Asha | None = None
    """Early stopping of trainings by successive halving; default: no early stopping."""
    metric: str = pydantic.Field(default_factory=_first_figure)
    """Metric that trials are compared by: of a training (default: validation_loss), or an observable of a dataset
    (default: energy; others are magnetization_z, topological_charge, wall_length ...)."""
    goal: Literal["min", "max"] = "min"
    """Whether the metric is minimized or maximized."""
    resources: TrialResources = TrialResources()
    """Division of the cluster between the trials."""
    mlflow: str | None = pydantic.Field(default=None, min_length=1)
    """MLflow tracking URI (`http://server:5000`, `sqlite:////path/mlflow.db`). A finished sweep logs its trials
    to an experiment with the name of its folder. Default: no logging."""

    _known: list[Trial] | None = pydantic.PrivateAttr(None)

    @pydantic.model_validator(mode="after")
    def _space_suits_the_job(self) -> Tune:
        if isinstance(self.search, Grid):
            # Check the number of points first: there may be too many to check every value.
            self.search.points(self.space)
        maker = self._maker()
        for key, axis in self.space.items():
            values = axis.values if isinstance(axis, Values) else axis.ends
            for value in values:
                maker.trial(((key, value),))
        if isinstance(self.base, Generate) and (self.asha is not None or isinstance(self.search, Population)):
            raise InputError(
                "base",
                "a dataset has no epochs after which to stop it",
                "remove [asha], or use another search.method than population",
            )
        names = reported(self.base)
        if self.metric not in names:
            raise InputError("metric", f"no trial reports {self.metric!r}", suggestion(self.metric, names))
        shared = self.resources.trials_per_gpu > 1
        if shared and isinstance(self.base, Training) and (self.base.resources.workers or 1) > 1:
            problem = "a trial with several workers cannot share GPUs"
            raise InputError("resources.trials_per_gpu", problem, "remove the key, or set workers = 1")
        if isinstance(self.search, Population):
            self._check_population()
        return self

    def _check_population(self) -> None:
        if self.asha is not None:
            raise InputError("asha", "a population already replaces its worst members", "remove [asha]")
        if isinstance(self.base, Training) and self.base.training.patience is not None:
            problem = "the members of a population must have the same number of epochs"
            raise InputError("base.training.patience", problem, "remove patience")
        for key in self.space:
            if not key.startswith(("training.", "objective.")) or key in FIXED:
                raise InputError(
                    f"space.{key}",
                    "cannot change during a training",
                    f"use keys of training and objective, except {', '.join(FIXED)}",
                )

    def identity(self) -> Table:
        """The job without its resources and without the MLflow URI."""
        return {key: value for key, value in super().identity().items() if key != "mlflow"}

    def _maker(self) -> TrialBuilder:
        return TrialBuilder.of(self.base, self.datasets)

    def trials(self) -> list[Trial]:
        """Return the trials that are known before the sweep runs: none for Optuna, the first members for a population.

        Raises:
            InputError: a combination of values is invalid.
        """
        if self._known is None:
            self._known = self._listed()
        return self._known

    def _listed(self) -> list[Trial]:
        maker = self._maker()
        match self.search:
            case Grid() | Random():
                points = self.search.points(self.space)
            case Population():
                points = Random(method="random", trials=self.search.members, seed=self.search.seed).points(self.space)
            case _:
                return []
        return list({trial.name: trial for trial in map(maker.trial, points)}.values())

    def _examples(self) -> list[Trial]:
        """Return trials to check if none is known yet: the base job, and the base job with each listed value."""
        listed = [(key, value) for key, axis in self.space.items() if isinstance(axis, Values) for value in axis.values]
        return [self._maker().trial(point) for point in ((), *(((key, value),) for key, value in listed))]

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check every trial as a job."""
        run.check_same(self.identity(), self.may_change)
        if isinstance(self.search, Optuna):
            optuna_module()
        if self.mlflow is not None:
            mlflow_module()
        facts: dict[str, DatasetFacts] = {}
        for trial in self.trials() or self._examples():
            try:
                self._check_trial(trial, run, earlier, facts)
            except InputError as error:
                raise InputError(f"trial with {trial.label}: {error.where}", error.problem, error.remedy) from None

    def _check_trial(
        self, trial: Trial, run: RunDir, earlier: Mapping[str, Stage], facts: dict[str, DatasetFacts]
    ) -> None:
        for data in (trial.job, trial.data):
            if isinstance(data, Generate):
                data.check_reachable()
        if isinstance(trial.job, Training):
            reference = trial.job.dataset
            stages = _with_data(trial, earlier)
            if reference not in facts:
                facts[reference] = trial.job.facts(run, stages)
            trial.job.check_data(facts[reference], run, stages)

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """Return the remaining trials and their cost, measured for a few of them."""
        trials, ledger = self.trials(), Ledger(run.path)
        left = [trial for trial in trials if not ledger.has(trial)]
        figures = {"trials": f"{len(trials)}, {len(trials) - len(left)} done"}
        parts = [data.plan(run.child(DATASETS).child(name), earlier) for name, data in _datasets(left).items()]
        if parts:
            figures["datasets"] = f"{len(parts)}, {sum(not part.core_seconds for part in parts)} done"
        if isinstance(self.search, Optuna):
            figures["trials"] = f"{self.search.trials}, chosen one after another; {len(ledger.trials)} chosen so far"
        if self.asha is not None:
            figures["early stopping"] = "after " + ", ".join(map(str, self.asha.rungs(self._budget)[:-1])) + " epochs"
        timed = left[:: max(1, math.ceil(len(left) / CALIBRATED))]
        costs = [trial.job.plan(trial.folder(run), _with_data(trial, earlier)) for trial in timed]
        share = len(left) / len(costs) if costs else 0.0
        listing = tuple(f"{trial.name}  {ledger.state(trial):8}  {trial.label}" for trial in trials)
        workers = (self.base.resources.workers or 1) if isinstance(self.base, Training) else 1
        return Plan(
            "tune",
            figures,
            sum(cost.core_seconds for cost in costs) * share + sum(part.core_seconds for part in parts),
            int(sum(cost.bytes for cost in costs) * share) + sum(part.bytes for part in parts),
            listing=listing,
            pieces=len(left) * workers,
        )

    @property
    def _budget(self) -> int:
        return self._maker().trial(()).budget

    def run(self, run: RunDir, context: Context) -> Summary:
        """Generate the missing datasets, run the missing trials, and write the table and the pictures."""
        (run.path / TRIALS).mkdir(exist_ok=True)
        here = RunDir(run.path.resolve(), run.root.resolve())
        queue = SegmentQueue(self._scheduler(here), Ledger(here.path), self._metric, self.resources.retries)
        queue.play()
        if not queue.ended:
            self._make_datasets(run, context)
            self._run_trials(here, context, queue)
        if context.stop.requested and not queue.ended:
            done = f"{queue.done} of {queue.scheduler.count} trials done"
            raise context.stop.incomplete(str(run.path), done)
        report = Report(run, dict(self.space), self._metric, queue, isinstance(self.search, Grid))
        summary = report.write()
        if self.mlflow is not None:
            log_trials(self.mlflow, here.path.name, report.logged())
        failed = failures(run, queue.scheduler.trial_states(), queue)
        if failed:
            raise RunError(
                str(run.path),
                f"{len(failed)} of {queue.scheduler.count} trials failed, the first with {failed[0]}",
                "see trials.csv for all of them; run the same command again to retry them",
            )
        return summary

    @property
    def _metric(self) -> tuple[str, bool]:
        return self.metric, self.goal == "max"

    def _scheduler(self, run: RunDir) -> Scheduler:
        maker = self._maker()
        match self.search:
            case Population():

                def branched(child: Trial, parent: Trial, epochs: int) -> None:
                    _branch(run, child, parent, epochs)

                return PopulationScheduler(self.search, self.space, maker, branched)
            case Optuna():
                return Halving(OptunaSource(self.search, self.space, maker), self.asha)
            case _:
                return Halving(Listed(_in_order(self.trials(), Ledger(run.path))), self.asha)

    def _make_datasets(self, run: RunDir, context: Context) -> None:
        trials = self.trials() or self._examples()
        ledger = Ledger(run.path)
        for name, data in _datasets([trial for trial in trials if not ledger.has(trial)]).items():
            execute(data, run.child(DATASETS).child(name), context)

    def _run_trials(self, run: RunDir, context: Context, queue: SegmentQueue) -> None:
        context.session.ray()
        from rayspin.jobs.tune.engine import ResourcesPerTrial, run_segments

        needs, runner = ResourcesPerTrial(gpus=float(self.base.resources.gpu)), SegmentRunner(run, Path.cwd())
        if isinstance(self.base, Training):
            each = self.base.resources
            needs = ResourcesPerTrial(
                each.workers or 1, each.cpus_per_worker, 1 / self.resources.trials_per_gpu if each.gpu else 0.0
            )
            memory = self.resources.memory_gib
            runner = SegmentRunner(
                run,
                Path.cwd(),
                each.cpus_per_worker,
                "cuda" if each.gpu else "cpu",
                None if memory is None else int(memory * 2**30),
            )
        with (
            context.progress.track("trials", queue.scheduler.count, "trial", queue.done) as track,
            polling(lambda: track.update(queue.done, **queue.progress())),
        ):
            run_segments(context, queue, runner, needs, self.resources.concurrent)


def _datasets(trials: list[Trial]) -> dict[str, Generate]:
    """Return the distinct datasets that the sweep generates for the trials, by name."""
    return {
        trial.job.dataset.removeprefix(f"@{DATASETS}/"): trial.data
        for trial in trials
        if trial.data is not None and isinstance(trial.job, Training)
    }


def _with_data(trial: Trial, earlier: Mapping[str, Stage]) -> dict[str, Stage]:
    """Return the stages that a trial may refer to: those before the sweep, and the trial's dataset."""
    if trial.data is None or not isinstance(trial.job, Training):
        return dict(earlier)
    return {**earlier, trial.job.dataset[1:]: trial.data}


def _in_order(trials: list[Trial], ledger: Ledger) -> list[Trial]:
    """Return the trials in the order of the ledger, then new ones, so that these do not change earlier decisions."""
    by_name = {trial.name: trial for trial in trials}
    known = [by_name.pop(name) for name in ledger.trials if name in by_name]
    return [*known, *by_name.values()]


def _branch(run: RunDir, child: Trial, parent: Trial, epochs: int) -> None:
    """Copy the state of the parent to a branch that has no checkpoint yet."""
    assert isinstance(child.job, Training)
    branch(
        parent.folder(run).path,
        child.folder(run).path,
        epochs,
        {"objective": child.job.objective.to_table(), "training": child.job.training.to_table()},
    )
