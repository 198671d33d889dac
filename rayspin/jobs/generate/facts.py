"""Lattice size and split sizes of a dataset, available before the dataset is read or generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pydantic

from rayspin.config import suggestion
from rayspin.errors import InputError
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.stage import Stage
from rayspin.jobs.stand_in import StandIn
from rayspin.physics import Hamiltonian
from rayspin.rundir import RunDir
from rayspin.storage import SPLITS, Catalog, Point, Split


class DataStage(Stage):
    """Base class of the stages that read one or several datasets."""

    incomplete: bool = pydantic.Field(default=False, exclude_if=lambda incomplete: not incomplete)
    """Accept a dataset with missing samples and use those that exist; by default it is an error."""


class DatasetStage(DataStage):
    """Base class of the stages that read a dataset."""

    references: ClassVar[tuple[str, ...]] = ("dataset",)

    dataset: str
    """Folder of the dataset, relative to the working directory, or `@name` for an earlier stage of the pipeline."""

    def facts(self, run: RunDir, earlier: Mapping[str, Stage]) -> DatasetFacts:
        """Return the facts of the dataset; see `DatasetFacts.of` for arguments and errors."""
        return DatasetFacts.of(self.dataset, run, earlier, incomplete=self.incomplete)

    def open_dataset(self, folder: Path) -> Catalog:
        """Open the catalog of the dataset in `folder`.

        Raises:
            InputError: the folder has no dataset, no shard is done, or samples are missing and `incomplete` is false.
        """
        return Catalog.open(folder, incomplete=self.incomplete)


@dataclass(frozen=True)
class DatasetFacts:
    """Lattice and splits of a dataset.

    Attributes:
        shape: (rows, columns) of the lattice.
        counts: number of samples in each split.
        hamiltonians: Hamiltonians of the samples.
    """

    shape: tuple[int, int]
    counts: dict[Split, int]
    hamiltonians: frozenset[Hamiltonian]

    @classmethod
    def of(
        cls,
        reference: str,
        run: RunDir,
        earlier: Mapping[str, Stage],
        *,
        incomplete: bool = False,
        several: bool = False,
    ) -> DatasetFacts:
        """Return the facts of the dataset that a stage refers to.

        Args:
            reference: folder of a dataset, or `@name` for an earlier stage.
            run: folder of the stage, from which `reference` is resolved.
            earlier: stages before it in the pipeline by name.
            incomplete: accept a dataset with missing samples.
            several: accept a dataset with several Hamiltonians.

        Raises:
            InputError: the stage or the dataset does not exist, samples are missing, or the samples have several
                Hamiltonians or open boundaries.
        """
        if not reference.startswith("@"):
            return cls.of_catalog(Catalog.open(run.locate(reference), incomplete=incomplete), several=several)
        stage = earlier.get(reference[1:])
        if not isinstance(stage, Generate):
            makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, Generate)]
            raise InputError(
                "dataset", f"no earlier stage {reference!r} generates a dataset", suggestion(reference, makers)
            )
        hamiltonians = _checked(stage.points, reference, several=several)
        return cls(stage.size, stage.splits.counts(stage.samples), hamiltonians)

    @classmethod
    def of_catalog(cls, catalog: Catalog, *, several: bool = False) -> DatasetFacts:
        """Return the facts of an existing dataset.

        Args:
            catalog: the catalog of the dataset.
            several: accept a dataset with several Hamiltonians.

        Raises:
            InputError: the samples have several Hamiltonians or open boundaries.
        """
        hamiltonians = _checked(catalog.points, str(catalog.path), several=several)
        codes = catalog.column("split")
        counts = {split: int(np.count_nonzero(codes == code)) for code, split in enumerate(SPLITS)}
        return cls(catalog.shape, counts, hamiltonians)

    def stand_in(self, split: Split) -> StandIn:
        """Return stand-ins of the samples of a split, all under one of the Hamiltonians."""
        return StandIn(self.counts[split], self.shape, next(iter(self.hamiltonians)))

    def check_samples(self, split: Split, samples: int) -> None:
        """Check that a split has as many samples as a job requests with its key `samples`.

        Raises:
            InputError: it has fewer.
        """
        if self.counts[split] < samples:
            problem = f"{samples} samples requested, and the split {split!r} has {self.counts[split]}"
            raise InputError("samples", problem, "reduce samples, choose another split, or generate larger [splits]")


def _checked(points: Iterable[Point], dataset: str, *, several: bool) -> frozenset[Hamiltonian]:
    """The Hamiltonians of the samples; InputError unless there is a single one and all have periodic boundaries.

    Effective fields, energies and symmetries belong to one Hamiltonian, and the networks use periodic padding.
    """
    hamiltonians = frozenset(point.hamiltonian for point in points)
    if len(hamiltonians) > 1 and not several:
        problem = f"the samples of {dataset} have {len(hamiltonians)} Hamiltonians, and this job needs a single one"
        raise InputError("dataset", problem, "use a dataset without variants and without a grid over hamiltonian")
    if any(hamiltonian.boundary == "open" for hamiltonian in hamiltonians):
        problem = f"the samples of {dataset} have open boundaries, and the networks assume periodic ones"
        raise InputError("dataset", problem, 'use a dataset with boundary = "periodic"')
    return hamiltonians
