"""Sweep any key of a job: over a grid, at random, with Optuna, or with a population; with early stopping if asked for.

A trial is a job of its own, known by the hash of its resolved job, in a folder of that name. What was run is in the
sweep's ledger (`rayspin.jobs.tune.ledger`), so a sweep that was killed runs what is missing, and a larger space or more
trials run only what is new.
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
"""How many trials a plan times to say what all of them cost."""


class TrialResources(Config):
    """How the trials share the cluster; no part of what they compute. What one trial takes is in its own job."""

    concurrent: int | None = pydantic.Field(default=None, gt=0)
    """Most trials at a time; by default as many as fit."""
    trials_per_gpu: int = pydantic.Field(default=1, gt=0)
    """How many trials of one worker share a GPU, where the base job asks for one."""
    memory_gib: float | None = pydantic.Field(default=None, gt=0)
    """What a trial of one worker may allocate; one that wants more fails alone. By default nothing is limited."""
    retries: int = pydantic.Field(default=1, ge=0)
    """How often a trial that raised is tried again. Errors of the job itself (a loss that is not finite) are not."""


def _first_figure(fields: dict[str, Any]) -> str:
    return "energy" if isinstance(fields.get("base"), Generate) else "validation_loss"


class Tune(Stage):
    """A sweep over dotted keys of a training or of the generation of a dataset."""

    # Trials are known by their own jobs; another space or another base only makes other trials.
    may_change: ClassVar[frozenset[str]] = frozenset(
        {"base.*", "space.*", "datasets.*", "search.*", "asha.*", "asha", "metric", "goal"}
    )

    kind: Literal["tune"] = "tune"
    base: Annotated[
        pydantic.SerializeAsAny[Job],
        pydantic.BeforeValidator(sweepable, json_schema_input_type=dict[str, Any]),
    ]
    """A complete job: train-fcn, train-sr or generate."""
    space: Space
    """What to try: for each dotted key of the base job, or of one of the datasets; 20,000 trials at most."""
    datasets: dict[Name, Generate] = pydantic.Field(default_factory=dict)
    """Datasets that the sweep generates itself, before its trials; `@name` in the base job. Where the space changes one
    of their keys, each distinct dataset is generated once."""
    search: Search = Grid()
    """How points are chosen: grid, random, optuna, population."""
    asha: Asha | None = None
    """Stops trainings that fall behind, by successive halving; by default all have all their epochs."""
    metric: str = pydantic.Field(default_factory=_first_figure)
    """The figure that trials are compared by: of a training (unset: validation_loss), or what is measured on a dataset
    (unset: energy; magnetization_z, topological_charge, wall_length and others)."""
    goal: Literal["min", "max"] = "min"
    """Whether the least or the most of it is best."""
    resources: TrialResources = TrialResources()
    mlflow: str | None = pydantic.Field(default=None, min_length=1)
    """Where MLflow keeps its runs (`http://server:5000`, `sqlite:////path/mlflow.db`); at its end the sweep logs each
    trial there, in an experiment with the name of its folder. Unset: no MLflow."""

    _known: list[Trial] | None = pydantic.PrivateAttr(None)

    @pydantic.model_validator(mode="after")
    def _space_suits_the_job(self) -> Tune:
        if isinstance(self.search, Grid):
            # First: there may be too many of them to look at each value.
            self.search.points(self.space)
        maker = self._maker()
        for key, axis in self.space.items():
            values = axis.values if isinstance(axis, Values) else axis.ends
            for value in values:
                maker.trial(((key, value),))
        if isinstance(self.base, Generate) and (self.asha is not None or isinstance(self.search, Population)):
            raise InputError("base", "a dataset has no epochs to stop it after", "leave out asha, or sweep a training")
        names = reported(self.base)
        if self.metric not in names:
            raise InputError("metric", f"no trial reports {self.metric!r}", suggestion(self.metric, names))
        shared = self.resources.trials_per_gpu > 1
        if shared and isinstance(self.base, Training) and (self.base.resources.workers or 1) > 1:
            problem, remedy = "a trial of several workers has GPUs of its own", "leave it out, or ask for one worker"
            raise InputError("resources.trials_per_gpu", problem, remedy)
        if isinstance(self.search, Population):
            self._check_population()
        return self

    def _check_population(self) -> None:
        if self.asha is not None:
            raise InputError("asha", "a population replaces its worst members already", "leave it out")
        if isinstance(self.base, Training) and self.base.training.patience is not None:
            problem = "a population compares its members after the same number of epochs"
            raise InputError("base.training.patience", problem, "leave it out")
        for key in self.space:
            if not key.startswith(("training.", "objective.")) or key in {"training.epochs", "training.seed"}:
                raise InputError(
                    f"space.{key}", "can't change in mid-training", "a population takes keys of training and objective"
                )

    def identity(self) -> Table:
        """Also without where it is logged."""
        return {key: value for key, value in super().identity().items() if key != "mlflow"}

    def _maker(self) -> TrialBuilder:
        return TrialBuilder.of(self.base, self.datasets)

    def trials(self) -> list[Trial]:
        """Every trial that is known before the sweep has run: of Optuna none, of a population the first members.

        Raises:
            InputError: values that don't go together.
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
        """Where no trial is known yet: the base job, and with each listed value of the space put into it alone."""
        listed = [(key, value) for key, axis in self.space.items() if isinstance(axis, Values) for value in axis.values]
        return [self._maker().trial(point) for point in ((), *(((key, value),) for key, value in listed))]

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Every trial is checked like a job of its own."""
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
            if reference not in facts:
                facts[reference] = trial.job.facts(run, _with_data(trial, earlier))
            trial.job.check_data(facts[reference])

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """The trials still to run, and their cost from a few of them."""
        trials, ledger = self.trials(), Ledger(run.path)
        left = [trial for trial in trials if not ledger.has(trial)]
        figures = {"trials": f"{len(trials)}, {len(trials) - len(left)} done"}
        parts = [data.plan(run.child(DATASETS).child(name), earlier) for name, data in _datasets(left).items()]
        if parts:
            figures["datasets"] = f"{len(parts)}, {sum(not part.core_seconds for part in parts)} done"
        if isinstance(self.search, Optuna):
            figures["trials"] = f"{self.search.trials}, chosen one after another; {len(ledger.trials)} known"
        if self.asha is not None:
            figures["early stopping"] = "after " + ", ".join(map(str, self.asha.rungs(self._budget)[:-1])) + " epochs"
        timed = left[:: max(1, math.ceil(len(left) / CALIBRATED))]
        costs = [trial.job.plan(trial.folder(run), _with_data(trial, earlier)) for trial in timed]
        share = len(left) / len(costs) if costs else 0.0
        listing = tuple(f"{trial.name}  {ledger.state(trial):8}  {trial.label}" for trial in trials)
        return Plan(
            "tune",
            figures,
            sum(cost.core_seconds for cost in costs) * share + sum(part.core_seconds for part in parts),
            int(sum(cost.bytes for cost in costs) * share) + sum(part.bytes for part in parts),
            listing=listing,
        )

    @property
    def _budget(self) -> int:
        return self._maker().trial(()).budget

    def run(self, run: RunDir, context: Context) -> Summary:
        """Generate the datasets that are missing, run the trials that are missing; then the table and the pictures."""
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
                "trials.csv has them all; the same command tries them again",
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
    """The distinct datasets that the sweep makes for these trials, by name."""
    return {
        trial.job.dataset.removeprefix(f"@{DATASETS}/"): trial.data
        for trial in trials
        if trial.data is not None and isinstance(trial.job, Training)
    }


def _with_data(trial: Trial, earlier: Mapping[str, Stage]) -> dict[str, Stage]:
    """The stages that a trial can refer to: those before the sweep, and its own dataset."""
    if trial.data is None or not isinstance(trial.job, Training):
        return dict(earlier)
    return {**earlier, trial.job.dataset[1:]: trial.data}


def _in_order(trials: list[Trial], ledger: Ledger) -> list[Trial]:
    """Trials of the ledger first, as they came: what a larger space adds changes no earlier decision."""
    by_name = {trial.name: trial for trial in trials}
    known = [by_name.pop(name) for name in ledger.trials if name in by_name]
    return [*known, *by_name.values()]


def _branch(run: RunDir, child: Trial, parent: Trial, epochs: int) -> None:
    """Give a branch the state of its parent, if it has none yet."""
    assert isinstance(child.job, Training)
    branch(
        parent.folder(run).path,
        child.folder(run).path,
        epochs,
        {"objective": child.job.objective.to_table(), "training": child.job.training.to_table()},
    )
