"""Run the segments of a queue with Ray Tune: one Tune trial for each segment, on reused actors.

Tune places the segments on the cluster. The queue decides what runs, and the ledger records the outcomes. The state of
Tune is deleted, because Tune cannot extend a finished experiment. Exceptions of a trial are caught in the worker and
returned as outcomes. A failure that Tune sees is therefore a lost worker or node, and the queue gives the segment out
again. The retries of Tune are not used: it does not retry a trial whose worker is lost before the trial has started.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from dataclasses import dataclass
from typing import Any

# Disable the log files and the SIGINT handler of Tune: the ledger is the record, and `StopRequest` handles the signal.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")

import ray
from ray import cloudpickle, tune
from ray.tune.search import Searcher

from rayspin.errors import MachineError, RayspinError, RunError
from rayspin.execution.session import places_on
from rayspin.jobs.stage import Context
from rayspin.jobs.train.workers import STOP
from rayspin.jobs.tune.outcomes import Failed, Finished, Refused, decode, encode
from rayspin.jobs.tune.schedulers import Segment
from rayspin.jobs.tune.segment_queue import SegmentQueue
from rayspin.jobs.tune.segments import SegmentRunner
from rayspin.progress import polling

_ONE_BYTE = {"memory": 1}
"""Resources of the process that starts the workers of a trial and waits for them. It must not occupy a CPU."""


@dataclass(frozen=True)
class ResourcesPerTrial:
    """Resources of one trial.

    Attributes:
        workers: number of workers.
        cpus: CPUs of each worker.
        gpus: GPUs of each worker; a fraction shares a GPU with other trials.
    """

    workers: int = 1
    cpus: int = 1
    gpus: float = 0.0

    def places(self) -> int:
        """Return the number of trials that can run on the cluster at the same time.

        Raises:
            RunError: no trial fits; Ray would wait for resources indefinitely.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        fitting = sum(places_on(node, self.cpus, self.gpus) for node in nodes) // self.workers
        if not fitting:
            available = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes[:4])
            each = f"{self.cpus} CPUs" + (f" and {self.gpus:.3g} GPUs" if self.gpus else "")
            more = f" and {len(nodes) - 4} more nodes" if len(nodes) > 4 else ""
            raise RunError(
                "resources",
                f"a trial needs {self.workers} workers of {each}, and the cluster has nodes of {available}{more}",
                "reduce the workers or their CPUs in [base.resources]",
            )
        return fitting

    def bundle(self) -> dict[str, float]:
        """Return the resources that Tune reserves for a trial."""
        if self.workers > 1:
            return dict(_ONE_BYTE)
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}


def run_segments(
    context: Context, queue: SegmentQueue, runner: SegmentRunner, needs: ResourcesPerTrial, limit: int | None
) -> None:
    """Run segments until the queue has none left, or a stop is requested.

    Args:
        context: execution environment; its session is connected to Ray.
        queue: gives out the segments and takes their outcomes.
        runner: runs a segment in a worker.
        needs: resources of a trial.
        limit: maximum number of trials that run at the same time; None: as many as fit.

    Raises:
        RunError: no trial fits, or a folder cannot be written (`MachineError`).
        RayspinError: the queue rejects a result.
    """
    # The sweep reports failures itself, once and with their cause.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    folder = runner.run.path
    places = min(needs.places(), limit or math.inf)
    searcher = _SegmentSearcher(context, queue, runner)
    scratch, stop = folder / ".ray", folder / STOP
    # Remove the files of a killed driver.
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
        run_config=tune.RunConfig(name="tune", storage_path=str(scratch), verbose=0),
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
    """Adapter of the queue to the interface of Tune searchers."""

    def __init__(self, context: Context, queue: SegmentQueue, runner: SegmentRunner) -> None:
        super().__init__()
        self._context, self._queue, self._runner = context, queue, runner
        self._out: dict[str, Segment] = {}
        self.problem: RayspinError | None = None

    def suggest(self, trial_id: str) -> Any:
        """Return the config of the next segment; None if the queue needs more results first."""
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
        """Take the outcome of a segment, or the loss of its worker."""
        segment = self._out.pop(trial_id)
        try:
            if error or result is None or "outcome" not in result:
                # If Ray itself has died, this call ends the run.
                self._context.session.nodes()
                self._queue.lost(segment)
                return
            match outcome := decode(result["outcome"]):
                case Refused():
                    raise MachineError(outcome.where, outcome.problem, outcome.remedy)
                case Finished() | Failed():
                    self._queue.take(segment, outcome)
        except RayspinError as problem:
            self.problem = problem

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles the searcher as part of its state, which is never read.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger holds the state."""


@dataclass(frozen=True)
class _Parcel:
    """Pickled input of a segment. Its `repr` is short, because Tune uses the `repr` of configs in names."""

    content: bytes

    def __repr__(self) -> str:
        return "segment"


def _run_segment(config: dict[str, _Parcel]) -> None:
    runner, segment = cloudpickle.loads(config["parcel"].content)
    tune.report({"outcome": encode(runner.execute(segment))})


def _name(trial: Any) -> str:
    name: str = trial.trial_id
    return name
