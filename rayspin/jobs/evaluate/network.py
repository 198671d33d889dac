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

from rayspin.config import build, suggestion
from rayspin.errors import InputError
from rayspin.jobs.evaluate.job import Evaluation, Spins
from rayspin.jobs.evaluate.ledger import Row
from rayspin.jobs.generate.facts import DatasetStage
from rayspin.jobs.stage import Stage
from rayspin.jobs.train.job import Training
from rayspin.jobs.train.references import weights_file
from rayspin.models import (
    FieldNetConfig,
    FineNetConfig,
    NetworkConfig,
    load_weights,
    weights_info,
)
from rayspin.physics import Hamiltonian
from rayspin.rundir import RunDir, differing
from rayspin.storage import Catalog, SpinReader, Split


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

    @classmethod
    def of(cls, reference: str, where: str, run: RunDir, earlier: Mapping[str, Stage]) -> Trained:
        """Return what is known of the network that a job refers to.

        Args:
            reference: weights file, folder of a training, `@name` or `pretrained:NAME`.
            where: key of the reference, for error messages.
            run: folder of the job.
            earlier: stages before it in its pipeline by name.

        Raises:
            InputError: the reference is to no network.
        """
        if reference.startswith("@"):
            stage = earlier.get(reference[1:])
            if not isinstance(stage, Training):
                makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, Training)]
                problem = f"no earlier stage {reference!r} trains a network"
                raise InputError(where, problem, suggestion(reference, makers))
            (hamiltonian,) = stage.facts(run, earlier).hamiltonians
            return cls(stage.network, stage.objective.to_table(), hamiltonian)
        file = weights_file(reference, run)
        provenance = weights_info(file)["provenance"]
        table = provenance.get("data", {}).get("hamiltonian")
        on = None if table is None else build(Hamiltonian, table, f"{file}: hamiltonian")
        return cls(load_weights(file).config, provenance.get("objective", {}), on)

    def check(self, expected: type, hamiltonian: Hamiltonian | None, reference: str, where: str, kind: str) -> None:
        """Check that a network is of the kind that a job evaluates, and was trained for the data.

        Args:
            expected: config class of the networks.
            hamiltonian: Hamiltonian of the data; None accepts any network.
            reference: reference to the network.
            where: key of the reference.
            kind: kind of the job.

        Raises:
            InputError: the network is of another kind, or was trained for another Hamiltonian.
        """
        if hamiltonian is not None and self.hamiltonian not in (None, hamiltonian):
            there, here = self.hamiltonian.to_table(), hamiltonian.to_table()
            differences = ", ".join(f"{key} {new}, not {old}" for key, old, new in differing(there, here))
            problem = f"its Hamiltonian is not that of the network's training ({differences})"
            raise InputError("dataset", problem, "use a dataset of that one, or write other_hamiltonian = true")
        if not isinstance(self.network, expected):
            problem = f"the network of {reference!r} is of the wrong kind for a job of kind {kind!r}"
            raise InputError(where, problem, "give weights of the other kind of network")


def digest_of(files: list[Path], readers: list[SpinReader]) -> str:
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
        self.check_samples(facts)
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

    @abstractmethod
    def measure(self, case: Case, first: int, count: int) -> list[Row]:
        """Evaluate some samples of the split; see `Evaluation.measure`."""
