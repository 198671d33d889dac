"""Runs the segments that a queue gives out over Ray Tune: one Tune trial for each, on reused actors.

Tune places and restarts; what to run is the queue's business and what came of it the ledger's. Tune can't extend a
finished experiment, so its own state is thrown away. Two kinds of failure are told apart: an exception is caught where
it is raised and comes back as a result; what Tune itself sees fail is a lost worker or node, and is run again.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from dataclasses import dataclass
from typing import Any

# Tune's own files and handlers: the ledger is the record, and a run that is asked to stop must hear it.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")

import ray
from ray import cloudpickle, tune
from ray.tune.search import Searcher

from rayspin.errors import MachineError, RayspinError, RunError
from rayspin.execution.session import places_on
from rayspin.jobs.stage import Context
from rayspin.jobs.train.job import STOP, WORKER_RESTARTS
from rayspin.jobs.tune.outcomes import Failed, Finished, Outcome, Refused, decode, encode
from rayspin.jobs.tune.schedulers import Segment
from rayspin.jobs.tune.segment_queue import SegmentQueue
from rayspin.jobs.tune.segments import SegmentRunner
from rayspin.progress import polling

_ONE_BYTE = {"memory": 1}
"""What the process takes that starts the workers of a trial and then waits: a CPU would be one too few for them."""


@dataclass(frozen=True)
class ResourcesPerTrial:
    """What one trial takes of the cluster."""

    workers: int = 1
    cpus: int = 1
    """Of each worker."""
    gpus: float = 0.0
    """Of each worker; a part of one is shared with other trials."""

    def places(self) -> int:
        """How many trials fit on the session's nodes at a time.

        Raises:
            RunError: not even one; it would wait for ever.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        fitting = sum(places_on(node, self.cpus, self.gpus) for node in nodes) // self.workers
        if not fitting:
            there = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes[:4])
            each = f"{self.cpus} CPUs" + (f" and {self.gpus:.3g} GPUs" if self.gpus else "")
            more = f" and {len(nodes) - 4} more nodes" if len(nodes) > 4 else ""
            raise RunError(
                "resources",
                f"a trial takes {self.workers} workers of {each}, and the cluster has {there}{more}",
                "ask for fewer or smaller workers in [base.resources]",
            )
        return fitting

    def bundle(self) -> dict[str, float]:
        """What Tune reserves for a trial."""
        if self.workers > 1:
            return dict(_ONE_BYTE)
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}


def run_segments(
    context: Context, queue: SegmentQueue, runner: SegmentRunner, needs: ResourcesPerTrial, most: int | None
) -> None:
    """Run segments until the queue has none left, or a stop is requested.

    Args:
        context: the session, started; the stop request; the progress.
        queue: gives the segments out and takes what they end with.
        runner: what the segments have in common.
        needs: what a trial takes.
        most: how many trials may run at a time; None: as many as fit.

    Raises:
        RunError: no trial fits, the machine refuses to write (`MachineError`), or Tune itself failed.
        RayspinError: what the queue has against a result.
    """
    # What fails is told by the sweep itself, once and with its cause.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    folder = runner.run.path
    places = min(needs.places(), most or math.inf)
    searcher = _SegmentSearcher(context, queue, runner)
    scratch, stop = folder / ".ray", folder / STOP
    # What a killed driver left behind.
    shutil.rmtree(scratch, ignore_errors=True)
    stop.unlink(missing_ok=True)

    def watch() -> None:
        if context.stop.requested or searcher.problem:
            stop.touch()

    tuner = tune.Tuner(
        tune.with_resources(_run_segment, tune.PlacementGroupFactory([needs.bundle()])),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            max_concurrent_trials=int(places),
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=WORKER_RESTARTS),
        ),
    )
    try:
        with context.stop.draining(), polling(watch):
            tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        stop.unlink(missing_ok=True)
    if searcher.problem is not None:
        raise searcher.problem


class _SegmentSearcher(Searcher):
    """The queue as Tune asks for it."""

    def __init__(self, context: Context, queue: SegmentQueue, runner: SegmentRunner) -> None:
        super().__init__()
        self._context, self._queue, self._runner = context, queue, runner
        self._out: dict[str, Segment] = {}
        self.problem: RayspinError | None = None

    def suggest(self, trial_id: str) -> Any:
        """The next segment; None: not yet."""
        if self._context.stop.requested or self.problem is not None:
            return Searcher.FINISHED
        try:
            segment = self._queue.next()
        except RayspinError as error:
            self.problem = error
            return Searcher.FINISHED
        if segment is None:
            return Searcher.FINISHED if self._queue.ended else None
        self._out[trial_id] = segment
        return {"parcel": _Parcel(cloudpickle.dumps((self._runner, segment)))}  # type: ignore[no-untyped-call]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A segment has come back, or its worker was lost for good."""
        segment = self._out.pop(trial_id)
        if error or result is None or "outcome" not in result:
            cause = f"its worker was lost {WORKER_RESTARTS + 1} times (out of memory? a crash?)"
            outcome: Outcome = Failed(cause, hopeless=True)
        else:
            outcome = decode(result["outcome"])
        try:
            match outcome:
                case Refused():
                    raise MachineError(outcome.where, outcome.problem, outcome.remedy)
                case Finished() | Failed():
                    self._queue.take(segment, outcome)
        except RayspinError as problem:
            self.problem = problem

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher with its own state, which nobody reads.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger holds it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger holds it."""


@dataclass(frozen=True)
class _Parcel:
    """What an actor needs for a segment; Tune writes configs into names, so it shows nothing."""

    content: bytes

    def __repr__(self) -> str:
        return "segment"


def _run_segment(config: dict[str, _Parcel]) -> None:
    runner, segment = cloudpickle.loads(config["parcel"].content)
    tune.report({"outcome": encode(runner.execute(segment))})


def _name(trial: Any) -> str:
    name: str = trial.trial_id
    return name
