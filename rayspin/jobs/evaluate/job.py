"""Base class of the evaluations: a trained network is applied to the samples of a split, in parallel over Ray."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.config import suggestion
from rayspin.errors import InputError, RunError
from rayspin.execution.dispatcher import Worker, dispatch
from rayspin.jobs.generate.facts import DatasetStage
from rayspin.jobs.stage import Context, Plan, Stage
from rayspin.jobs.train.job import Training
from rayspin.models import (
    FieldNetConfig,
    NetworkConfig,
    SuperResolutionNetConfig,
    load_weights,
    weights_info,
)
from rayspin.rundir import RunDir, Summary
from rayspin.storage import Catalog, SpinReader, Split
from rayspin.training import BEST

Spins = npt.NDArray[np.float32]
Row = dict[str, float]
"""Results for one sample by name."""
Share = tuple[int, int]
"""A batch of samples: (position of the first sample in the split, number of samples)."""

SHOWN_FIELDS = 2
"""Number of samples in the pictures of an evaluation."""

SHARE = 25
"""Number of samples in a share, about one or two seconds of work."""


@dataclass(frozen=True)
class Case:
    """The inputs of an evaluation, loaded.

    Attributes:
        network: trained network.
        trained_for: table of the objective that the network was trained with; empty if the weights file has none.
        reader: samples of the split.
    """

    network: Any
    trained_for: Mapping[str, Any]
    reader: SpinReader

    @classmethod
    def open(cls, dataset: Path, weights: Path, split: Split, *, incomplete: bool = False) -> Case:
        """Load the network and open the split.

        Args:
            dataset: folder of the dataset.
            weights: weights file.
            split: split to read.
            incomplete: accept a dataset with missing samples.

        Raises:
            InputError: the dataset or the weights cannot be used.
        """
        reader = Catalog.open(dataset, incomplete=incomplete).reader(split)
        return cls(load_weights(weights), weights_info(weights)["provenance"].get("objective", {}), reader)

    def read(self, first: int, count: int) -> Spins:
        """Read the spins of `count` samples of the split from position `first`, (count, Y, X, 3)."""
        return self.reader.read(np.arange(first, first + count))


class FieldMeter(Worker[Share, list[Row]]):
    """Evaluates shares of a split in a Ray actor; there is one actor per core.

    Args:
        job: evaluation.
        dataset: folder of the dataset.
        weights: weights file.
    """

    def __init__(self, job: Evaluation, dataset: Path, weights: Path) -> None:
        self._job, self._case = job, Case.open(dataset, weights, job.split, incomplete=job.incomplete)

    def work(self, item: Share) -> list[Row]:
        """Return the results for each sample of a share."""
        return self._job.measure(self._case, *item)


class Evaluation(DatasetStage):
    """Base class of the evaluations of a network on the samples of one split."""

    references: ClassVar[tuple[str, ...]] = ("dataset", "weights")

    weights: str
    """Weights file, or folder of a training, of which the best epoch is used; or `@name` for an earlier stage."""
    split: Split = "test"
    """Split of the dataset to evaluate."""
    samples: int | None = pydantic.Field(default=None, gt=0)
    """Number of samples, counted from the first of the split; default: all."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root seed of the noise. The i-th sample of the split uses the random stream (seed, i)."""

    @abstractmethod
    def expects(self) -> type[FieldNetConfig] | type[SuperResolutionNetConfig]:
        """Return the config class of the networks that this job evaluates."""

    @abstractmethod
    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Evaluate some samples of the split.

        Args:
            case: network and samples.
            first: position of the first sample in the split.
            count: number of samples.

        Returns:
            One row of results per sample.
        """

    @abstractmethod
    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Write tables and pictures, and return the summary.

        Args:
            case: network and samples.
            rows: results for all samples, in the order of the split.
            folder: folder of the run.
        """

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check that dataset and weights exist or are made by earlier stages, and that they fit together."""
        run.check_same(self.identity_in(run), self.may_change)
        facts = self.facts(run, earlier)
        available = facts.counts[self.split]
        if available < (self.samples or 1):
            problem = f"{self.samples or 1} samples requested, and the split {self.split!r} has {available}"
            raise InputError("samples", problem, "reduce samples, choose another split, or generate larger [splits]")
        network, trained_for = self._trained(run, earlier)
        self.check_network(network, trained_for, facts.shape)

    def check_network(self, network: Any, trained_for: Mapping[str, Any], shape: tuple[int, int]) -> None:  # noqa: ARG002
        """Check that the network can be applied to the lattice.

        Args:
            network: config of the network.
            trained_for: table of the objective that the network is trained with.
            shape: (rows, columns) of the lattice.

        Raises:
            InputError: the network does not fit the lattice.
        """
        network.check_lattice(shape)

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:  # noqa: ARG002
        """Return the number of samples; an evaluation takes seconds, so its cost is not measured."""
        return Plan(self.kind, {"samples": f"{self.samples or 'all'} of the split {self.split!r}"}, 0.0)

    def run(self, run: RunDir, context: Context) -> Summary:
        """Evaluate the samples on all cores of the session, then write tables and pictures in this process."""
        dataset, weights = run.locate(self.dataset).resolve(), _weights_file(run.locate(self.weights)).resolve()
        case = Case.open(dataset, weights, self.split, incomplete=self.incomplete)
        count = self.samples or len(case.reader)
        shares = [(first, min(SHARE, count - first)) for first in range(0, count, SHARE)]
        rows: dict[Share, list[Row]] = {}
        with context.progress.track(self.kind, count, "sample") as track:

            def measured(share: Share, found: list[Row]) -> None:
                rows[share] = found
                track.update(sum(map(len, rows.values())))

            outcome = dispatch(context.session, context.stop, FieldMeter, (self, dataset, weights), shares, measured)
        if outcome.failed:
            (run.path / "error.txt").write_text(outcome.failed[0].trace, encoding="utf-8")
            problem = f"samples cannot be evaluated ({outcome.failed[0].error})"
            raise RunError(str(run.path), problem, f"see {run.path / 'error.txt'}")
        if outcome.remaining:
            raise context.stop.incomplete(str(run.path), f"{sum(map(len, rows.values()))} of {count} samples done")
        return self.conclude(case, [row for share in shares for row in rows[share]], run.path)

    def _trained(self, run: RunDir, earlier: Mapping[str, Stage]) -> tuple[NetworkConfig, Mapping[str, Any]]:
        """Return the config of the network and the table of its objective."""
        config: NetworkConfig
        if self.weights.startswith("@"):
            stage = earlier.get(self.weights[1:])
            if not isinstance(stage, Training):
                makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, Training)]
                problem = f"no earlier stage {self.weights!r} trains a network"
                raise InputError("weights", problem, suggestion(self.weights, makers))
            config, trained_for = stage.network, stage.objective.to_table()
        else:
            file = _weights_file(run.locate(self.weights))
            config, trained_for = load_weights(file).config, weights_info(file)["provenance"].get("objective", {})
        if not isinstance(config, self.expects()):
            problem = f"the network of {self.weights!r} is of the wrong kind for a job of kind {self.kind!r}"
            raise InputError("weights", problem, "give weights of the other kind of network")
        return config, trained_for


def _weights_file(path: Path) -> Path:
    return path / BEST if path.is_dir() else path
