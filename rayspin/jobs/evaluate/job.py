"""Base class of the evaluations: a trained network is applied to the samples of a split, in parallel over Ray."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.config import build, suggestion
from rayspin.errors import InputError, RunError
from rayspin.execution.dispatcher import dispatch
from rayspin.execution.work_queue import Unfinished, Worker
from rayspin.jobs.evaluate.ledger import Row, Share, ShareLedger
from rayspin.jobs.generate.facts import DatasetStage
from rayspin.jobs.stage import Context, Plan, Stage
from rayspin.jobs.train.job import Training
from rayspin.models import (
    FieldNetConfig,
    FineNetConfig,
    NetworkConfig,
    load_weights,
    pretrained_file,
    weights_info,
)
from rayspin.physics import Hamiltonian
from rayspin.rundir import RunDir, Summary, differing
from rayspin.storage import Catalog, SpinReader, Split
from rayspin.training import BEST

_PRETRAINED = "pretrained:"

Spins = npt.NDArray[np.float32]

SHOWN_FIELDS = 2
"""Number of samples in the pictures of an evaluation."""


@dataclass(frozen=True)
class Trained:
    """What is known of a network before it is loaded, or even trained.

    Attributes:
        network: config of the network.
        objective: table of the objective that the network is trained with; empty if the weights file has none.
        hamiltonian: Hamiltonian of the training data; None if the weights file does not say.
    """

    network: NetworkConfig
    objective: Mapping[str, Any]
    hamiltonian: Hamiltonian | None


@dataclass(frozen=True)
class Case:
    """The inputs of an evaluation, loaded.

    Attributes:
        network: trained network.
        trained_for: table of the objective that the network was trained with; empty if the weights file has none.
        reader: samples of the split.
        digest: SHA-256 of the weights file and the dataset, in hexadecimal.
    """

    network: Any
    trained_for: Mapping[str, Any]
    reader: SpinReader
    digest: str

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
        with weights.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        digest.update(reader.digest.encode())
        trained_for = weights_info(weights)["provenance"].get("objective", {})
        return cls(load_weights(weights), trained_for, reader, digest.hexdigest())

    @property
    def hamiltonian(self) -> Hamiltonian:
        """The Hamiltonian of the samples."""
        return self.reader.hamiltonian

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

    share_samples: ClassVar[int] = 25
    """Number of samples in a share, a few seconds of work. A run that is resumed repeats the shares that were not
    finished."""

    weights: str
    """Weights file, or folder of a training, of which the best epoch is used; `@name` for an earlier stage; or
    `pretrained:NAME` for a network that is shipped with the package, such as "pretrained:labyrinth-field"."""
    split: Split = "test"
    """Split of the dataset to evaluate."""
    samples: int | None = pydantic.Field(default=None, gt=0)
    """Number of samples, counted from the first of the split; default: all."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root seed of the noise. The i-th sample of the split uses the random stream (seed, i)."""
    other_hamiltonian: bool = pydantic.Field(default=False, exclude_if=lambda other: not other)
    """Accept a dataset whose Hamiltonian is not that of the network's training; by default it is an error."""

    @abstractmethod
    def expects(self) -> type[FieldNetConfig] | type[FineNetConfig]:
        """Return the config class of the networks that this job evaluates."""

    @abstractmethod
    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Evaluate some samples of the split.

        Args:
            case: network and samples.
            first: position of the first sample in the split.
            count: number of samples.

        Returns:
            Rows of results, one or more for each sample.
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
        trained = self._trained(run, earlier)
        (hamiltonian,) = facts.hamiltonians
        if trained.hamiltonian not in (None, hamiltonian) and not self.other_hamiltonian:
            there, here = trained.hamiltonian.to_table(), hamiltonian.to_table()
            differences = ", ".join(f"{key} {new}, not {old}" for key, old, new in differing(there, here))
            problem = f"its Hamiltonian is not that of the network's training ({differences})"
            raise InputError("dataset", problem, "use a dataset of that one, or write other_hamiltonian = true")
        self.check_network(trained.network, trained.objective, facts.shape)

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
        dataset, weights = run.locate(self.dataset).resolve(), _weights_file(self.weights, run).resolve()
        case = Case.open(dataset, weights, self.split, incomplete=self.incomplete)
        count, step = self.samples or len(case.reader), self.share_samples
        shares = [(first, min(step, count - first)) for first in range(0, count, step)]
        ledger = ShareLedger(run.path, case.digest)
        rows = {share: found for share, found in ledger.read().items() if share in shares}
        missing = [share for share in shares if share not in rows]
        with context.progress.track(self.kind, count, "sample") as track:
            track.update(_samples(rows))

            def measured(share: Share, found: list[Row]) -> None:
                ledger.append(share, found)
                rows[share] = found
                track.update(_samples(rows))

            if missing:
                unfinished = dispatch(
                    context.session, context.stop, FieldMeter, (self, dataset, weights), missing, measured
                )
                self._check_finished(unfinished, run, context, f"{_samples(rows)} of {count} samples done")
        return self.conclude(case, [row for share in shares for row in rows[share]], run.path)

    def _check_finished(self, unfinished: Unfinished[Share], run: RunDir, context: Context, done: str) -> None:
        """Raise RunError if shares failed, or Incomplete if some were not begun."""
        if unfinished.failed:
            (run.path / "error.txt").write_text(unfinished.failed[0].trace, encoding="utf-8")
            problem = f"samples cannot be evaluated ({unfinished.failed[0].error})"
            raise RunError(str(run.path), problem, f"see {run.path / 'error.txt'}")
        if unfinished.remaining:
            raise context.stop.incomplete(str(run.path), done)

    def _trained(self, run: RunDir, earlier: Mapping[str, Stage]) -> Trained:
        """Return the network and what it is trained for."""
        if self.weights.startswith("@"):
            stage = earlier.get(self.weights[1:])
            if not isinstance(stage, Training):
                makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, Training)]
                problem = f"no earlier stage {self.weights!r} trains a network"
                raise InputError("weights", problem, suggestion(self.weights, makers))
            (hamiltonian,) = stage.facts(run, earlier).hamiltonians
            trained = Trained(stage.network, stage.objective.to_table(), hamiltonian)
        else:
            file = _weights_file(self.weights, run)
            provenance = weights_info(file)["provenance"]
            table = provenance.get("data", {}).get("hamiltonian")
            on = None if table is None else build(Hamiltonian, table, f"{file}: hamiltonian")
            trained = Trained(load_weights(file).config, provenance.get("objective", {}), on)
        if not isinstance(trained.network, self.expects()):
            problem = f"the network of {self.weights!r} is of the wrong kind for a job of kind {self.kind!r}"
            raise InputError("weights", problem, "give weights of the other kind of network")
        return trained


def _samples(rows: Mapping[Share, list[Row]]) -> int:
    return sum(count for _, count in rows)


def _weights_file(reference: str, run: RunDir) -> Path:
    if reference.startswith(_PRETRAINED):
        return pretrained_file(reference.removeprefix(_PRETRAINED))
    path = run.locate(reference)
    return path / BEST if path.is_dir() else path
