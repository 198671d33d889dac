"""What all evaluations share: a trained network on the fields of a split, spread over Ray."""

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
    EffectiveFieldNetConfig,
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
"""The figures of one field, by name."""
Share = tuple[int, int]
"""Fields that are worked on in one go: the position of the first one in the split, and how many."""

SHOWN_FIELDS = 2
"""Fields in the pictures of an evaluation."""

SHARE = 25
"""Fields in a share: a second or two of work."""


@dataclass(frozen=True)
class Case:
    """What an evaluation is about, opened: the network, where it comes from, the fields of a split."""

    network: Any
    trained_for: Mapping[str, Any]
    """The table of its objective; empty if its file does not tell."""
    reader: SpinReader

    @classmethod
    def open(cls, dataset: Path, weights: Path, split: Split, *, incomplete: bool = False) -> Case:
        """The network of a weights file and one split of a dataset; samples may be missing only if `incomplete`."""
        reader = Catalog.open(dataset, incomplete=incomplete).reader(split)
        return cls(load_weights(weights), weights_info(weights)["provenance"].get("objective", {}), reader)

    def read(self, first: int, count: int) -> Spins:
        """Fields of the split, (count, Y, X, 3)."""
        return self.reader.read(np.arange(first, first + count))


class FieldMeter(Worker[Share, list[Row]]):
    """Measures shares of a split one after another; lives in an actor, one on each core."""

    def __init__(self, job: Evaluation, dataset: Path, weights: Path) -> None:
        self._job, self._case = job, Case.open(dataset, weights, job.split, incomplete=job.incomplete)

    def work(self, item: Share) -> list[Row]:
        """The figures of each field of a share."""
        return self._job.measure(self._case, *item)


class Evaluation(DatasetStage):
    """What all evaluations share: a network, and fields of one split."""

    references: ClassVar[tuple[str, ...]] = ("dataset", "weights")

    weights: str
    """A weights file, or the folder of a training, whose best epoch is taken; `@name` as above."""
    split: Split = "test"
    samples: int | None = pydantic.Field(default=None, gt=0)
    """How many fields, from the split's first on; by default all."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root of the noise: sample i is disturbed with the stream (seed, i)."""

    @abstractmethod
    def expects(self) -> type[EffectiveFieldNetConfig] | type[SuperResolutionNetConfig]:
        """The kind of network that this evaluates."""

    @abstractmethod
    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """The figures of `count` fields of the split from position `first` on, a row each."""

    @abstractmethod
    def conclude(self, case: Case, rows: list[Row], folder: Path) -> Summary:
        """Tables and pictures from the rows of all fields, in their order."""

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Dataset and weights are there, or earlier stages make them; they fit together."""
        run.check_same(self.identity_in(run), self.may_change)
        facts = self.facts(run, earlier)
        there = facts.counts[self.split]
        if there < (self.samples or 1):
            problem = f"{self.samples or 1} fields asked for, and the split {self.split!r} has {there}"
            raise InputError("samples", problem, "ask for fewer, take another split, or generate with larger [splits]")
        network, trained_for = self._trained(run, earlier)
        self.check_network(network, trained_for, facts.shape)

    def check_network(self, network: Any, trained_for: Mapping[str, Any], shape: tuple[int, int]) -> None:  # noqa: ARG002
        """Raise InputError unless a network, trained for an objective's table, takes a lattice of (rows, columns)."""
        network.check_lattice(shape)

    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:  # noqa: ARG002
        """Seconds: not worth a calibration."""
        return Plan(self.kind, {"fields": f"{self.samples or 'all'} of the split {self.split!r}"}, 0.0)

    def run(self, run: RunDir, context: Context) -> Summary:
        """Measure the fields share by share on every core of the session, then draw conclusions here."""
        dataset, weights = run.locate(self.dataset).resolve(), _weights_file(run.locate(self.weights)).resolve()
        case = Case.open(dataset, weights, self.split, incomplete=self.incomplete)
        count = self.samples or len(case.reader)
        shares = [(first, min(SHARE, count - first)) for first in range(0, count, SHARE)]
        rows: dict[Share, list[Row]] = {}
        with context.progress.track(self.kind, count, "field") as track:

            def measured(share: Share, found: list[Row]) -> None:
                rows[share] = found
                track.update(sum(map(len, rows.values())))

            outcome = dispatch(context.session, context.stop, FieldMeter, (self, dataset, weights), shares, measured)
        if outcome.failed:
            (run.path / "error.txt").write_text(outcome.failed[0].trace, encoding="utf-8")
            problem = f"fields can't be evaluated ({outcome.failed[0].error})"
            raise RunError(str(run.path), problem, f"see {run.path / 'error.txt'}")
        if outcome.remaining:
            raise context.stop.incomplete(str(run.path), f"{sum(map(len, rows.values()))} of {count} fields done")
        return self.conclude(case, [row for share in shares for row in rows[share]], run.path)

    def _trained(self, run: RunDir, earlier: Mapping[str, Stage]) -> tuple[NetworkConfig, Mapping[str, Any]]:
        """The network's config and its objective's table, from the stage that will train it or the weights file."""
        if self.weights.startswith("@"):
            stage = earlier.get(self.weights[1:])
            if not isinstance(stage, Training):
                makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, Training)]
                problem = f"{self.weights!r} is no earlier stage that trains"
                raise InputError("weights", problem, suggestion(self.weights, makers))
            config, trained_for = stage.network, stage.objective.to_table()
        else:
            file = _weights_file(run.locate(self.weights))
            config, trained_for = load_weights(file).config, weights_info(file)["provenance"].get("objective", {})
        if not isinstance(config, self.expects()):
            raise InputError("weights", f"{self.weights!r} is the other kind of network", f"give one for {self.kind}")
        return config, trained_for


def _weights_file(path: Path) -> Path:
    return path / BEST if path.is_dir() else path
