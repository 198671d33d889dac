"""Base class of the evaluations: the samples of a split are evaluated in shares, in parallel over Ray."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.execution.dispatcher import dispatch
from rayspin.execution.work_queue import Worker
from rayspin.jobs.evaluate.ledger import NAME, MeasuredShare, Row, Share, ShareLedger
from rayspin.jobs.generate.facts import DataStage
from rayspin.jobs.stage import Context, Plan, Stage, check_finished
from rayspin.jobs.stand_in import seconds_of
from rayspin.jobs.train.job import one_thread
from rayspin.rundir import RunDir, Summary
from rayspin.storage import Split

Spins = npt.NDArray[np.float32]


class Inputs(Protocol):
    """The inputs of an evaluation, loaded."""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights and the datasets, in hexadecimal."""

    @property
    def count(self) -> int:
        """Number of samples of the split."""


class ShareMeter(Worker[Share, MeasuredShare]):
    """Evaluates shares of a split in a Ray actor; there is one actor per core.

    Args:
        job: evaluation.
        places: result of `Evaluation.places`.
    """

    def __init__(self, job: Evaluation, places: Any) -> None:
        self._job, self._case = job, job.open(places)

    def work(self, item: Share) -> MeasuredShare:
        """Return the results for each sample of a share."""
        start = time.monotonic()
        rows = self._job.measure(self._case, *item)
        return MeasuredShare(rows, time.monotonic() - start)


class Evaluation(DataStage):
    """Base class of the evaluations on the samples of one split."""

    share_samples: ClassVar[int] = 25
    """Number of samples in a share, a few seconds of work. A run that is resumed repeats the shares that were not
    finished."""

    split: Split = "test"
    """Split of the dataset to evaluate."""
    samples: int | None = pydantic.Field(default=None, gt=0)
    """Number of samples, counted from the first of the split; default: all."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root seed of the noise. The i-th sample of the split uses the random stream (seed, i)."""

    @abstractmethod
    def places(self, run: RunDir) -> Any:
        """Return the absolute paths of the inputs, for `open` in every process."""

    @abstractmethod
    def open(self, places: Any) -> Any:
        """Load the inputs; see `Inputs`.

        Args:
            places: result of `places`.

        Raises:
            InputError: an input cannot be used.
        """

    @abstractmethod
    def stand_in(self, run: RunDir, earlier: Mapping[str, Stage]) -> Inputs:
        """Return inputs of the same sizes with stand-ins of the samples and untrained networks, to measure the cost.

        Args:
            run: folder of the run.
            earlier: stages before this one in its pipeline by name.
        """

    def timed_parts(self, samples: int) -> list[tuple[Self, float]]:
        """Divide the work into parts that take seconds, to measure the cost.

        Args:
            samples: number of samples.

        Returns:
            (job, times) for each part: the work is `times` that of the job on one sample.
        """
        return [(self, samples)]

    @abstractmethod
    def measure(self, case: Any, first: int, count: int) -> list[Row]:
        """Evaluate some samples of the split.

        Args:
            case: result of `open`.
            first: position of the first sample in the split.
            count: number of samples.

        Returns:
            Rows of results, one or more for each sample.
        """

    @abstractmethod
    def conclude(self, case: Any, rows: list[Row], folder: Path) -> Summary:
        """Write tables and pictures, and return the summary.

        Args:
            case: result of `open`.
            rows: results for all samples, in the order of the split.
            folder: folder of the run.
        """

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """Return the remaining samples and their cost, measured by evaluating a stand-in of one sample."""
        case = self.stand_in(run, earlier)
        count = self.samples or case.count
        left = count - self._samples_done(run, count)
        seconds = 0.0
        if left:
            with one_thread():
                seconds = sum(
                    times * seconds_of(lambda job=job: job.measure(case, 0, 1))  # type: ignore[misc]
                    for job, times in self.timed_parts(left)
                )
        figures = {"samples": f"{count} of the split {self.split!r}, {count - left} done"}
        if left:
            figures["seconds per sample"] = f"{seconds / left:.3g} on one core, measured now"
        return Plan(self.kind, figures, seconds, pieces=math.ceil(left / self.share_samples))

    def run(self, run: RunDir, context: Context) -> Summary:
        """Evaluate the samples on all cores of the session, then write tables and pictures in this process."""
        places = self.places(run)
        case: Inputs = self.open(places)
        count, step = self.samples or case.count, self.share_samples
        shares = [(first, min(step, count - first)) for first in range(0, count, step)]
        ledger = ShareLedger(run.path, case.digest)
        rows = {share: found for share, found in ledger.read().items() if share in shares}
        missing = [share for share in shares if share not in rows]
        with context.progress.track(self.kind, count, "sample") as track:
            track.update(_samples(rows))

            def measured(share: Share, found: MeasuredShare) -> None:
                ledger.append(share, found)
                rows[share] = found.rows
                track.update(_samples(rows))

            if missing:
                unfinished = dispatch(context.session, context.stop, ShareMeter, (self, places), missing, measured)
                done = f"{_samples(rows)} of {count} samples done"
                check_finished(unfinished, "samples cannot be evaluated", done, run, context)
        return self.conclude(case, [row for share in shares for row in rows[share]], run.path)

    def _samples_done(self, run: RunDir, count: int) -> int:
        if self.done(run) is not None:
            return count
        if not (run.path / NAME).exists():
            return 0
        return _samples(ShareLedger(run.path, self.open(self.places(run)).digest).read())


def _samples(rows: Mapping[Share, list[Row]]) -> int:
    return sum(count for _, count in rows)
