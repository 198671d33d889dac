"""Trained networks as inputs of evaluations, and the base class of the evaluations of a single one."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic

from rayspin.jobs.evaluate.job import Evaluation, Spins
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.generate.facts import DatasetStage
from rayspin.jobs.stage import Stage
from rayspin.jobs.train.references import Trained, weights_file
from rayspin.models import FieldNetConfig, FineNetConfig, load_weights
from rayspin.physics import Hamiltonian
from rayspin.rundir import RunDir
from rayspin.storage import Catalog, Split
from rayspin.training.sources import SampleSource


def digest_of(files: list[Path], readers: list[SampleSource]) -> str:
    """Return the SHA-256 of weights files and datasets, in hexadecimal."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    for reader in readers:
        digest.update(reader.digest.encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Case:
    """The inputs of an evaluation of one network, loaded.

    Attributes:
        network: trained network.
        reader: samples of the split.
        digest: SHA-256 of the weights file and the dataset, in hexadecimal.
    """

    network: Any
    reader: SampleSource
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
        return cls(load_weights(weights), reader, digest_of([weights], [reader]))

    @property
    def count(self) -> int:
        """Number of samples of the split."""
        return len(self.reader)

    @property
    def hamiltonian(self) -> Hamiltonian:
        """The Hamiltonian of the samples."""
        return self.reader.hamiltonian

    def read(self, first: int, count: int) -> Spins:
        """Read the spins of `count` samples of the split from position `first`, (count, Y, X, 3)."""
        return self.reader.read(np.arange(first, first + count))


class NetworkEvaluation(DatasetStage, Evaluation):
    """Base class of the evaluations of one network on the samples of one split."""

    references: ClassVar[tuple[str, ...]] = ("dataset", "weights")

    weights: str
    """Weights file, or folder of a training, of which the best epoch is used; `@name` for an earlier stage; or
    `pretrained:NAME` for a network that is shipped with the package, such as "pretrained:labyrinth-field"."""
    other_hamiltonian: bool = pydantic.Field(default=False, exclude_if=lambda other: not other)
    """Accept a dataset whose Hamiltonian is not that of the network's training; by default it is an error."""

    @abstractmethod
    def expects(self) -> type[FieldNetConfig] | type[FineNetConfig]:
        """Return the config class of the networks that this job evaluates."""

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check that dataset and weights exist or are made by earlier stages, and that they fit together."""
        run.check_same(self.identity_in(run), self.may_change)
        facts = self.facts(run, earlier)
        facts.check_samples(self.split, self.samples or 1)
        trained = Trained.of(self.weights, "weights", run, earlier)
        (hamiltonian,) = facts.hamiltonians
        on = None if self.other_hamiltonian else hamiltonian
        trained.check(self.expects(), on, self.weights, "weights", self.kind)
        self.check_network(trained.network, facts.shape)

    def check_network(self, network: Any, shape: tuple[int, int]) -> None:
        """Check that the network can be applied to the lattice.

        Args:
            network: config of the network.
            shape: (rows, columns) of the lattice.

        Raises:
            InputError: the network does not fit the lattice.
        """
        network.check_lattice(shape)

    def places(self, run: RunDir) -> tuple[Path, Path]:
        """Return the folder of the dataset and the weights file."""
        return run.locate(self.dataset).resolve(), weights_file(self.weights, run).resolve()

    def open(self, places: tuple[Path, Path]) -> Case:
        """Load the network and open the split; see `Evaluation.open`."""
        return Case.open(*places, self.split, incomplete=self.incomplete)

    def stand_in(self, run: RunDir, earlier: Mapping[str, Stage]) -> Case:
        """Return a stand-in of the inputs; see `Evaluation.stand_in`."""
        samples = self.facts(run, earlier).stand_in(self.split)
        return Case(Trained.of(self.weights, "weights", run, earlier).network.build(), samples, "")

    @abstractmethod
    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Evaluate some samples of the split; see `Evaluation.measure`."""
