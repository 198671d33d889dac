"""Lattice size and split sizes of a dataset, available before the dataset is read or generated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pydantic

from rayspin.config import suggestion
from rayspin.errors import InputError
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.stage import Stage
from rayspin.physics import Hamiltonian
from rayspin.rundir import RunDir
from rayspin.storage import SPLITS, Catalog, Split


class DatasetStage(Stage):
    """Base class of the stages that read a dataset."""

    references: ClassVar[tuple[str, ...]] = ("dataset",)

    dataset: str
    """Folder of the dataset, relative to the working directory, or `@name` for an earlier stage of the pipeline."""
    incomplete: bool = pydantic.Field(default=False, exclude_if=lambda incomplete: not incomplete)
    """Accept a dataset with missing samples and use those that exist; by default it is an error."""

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
    """

    shape: tuple[int, int]
    counts: dict[Split, int]

    @classmethod
    def of(cls, reference: str, run: RunDir, earlier: Mapping[str, Stage], *, incomplete: bool = False) -> DatasetFacts:
        """Return the facts of the dataset that a stage refers to.

        Args:
            reference: folder of a dataset, or `@name` for an earlier stage.
            run: folder of the stage, from which `reference` is resolved.
            earlier: stages before it in the pipeline by name.
            incomplete: accept a dataset with missing samples.

        Raises:
            InputError: the stage or the dataset does not exist, samples are missing, or the samples have several
                Hamiltonians or open boundaries.
        """
        if not reference.startswith("@"):
            return cls.of_catalog(Catalog.open(run.locate(reference), incomplete=incomplete))
        stage = earlier.get(reference[1:])
        if not isinstance(stage, Generate):
            makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, Generate)]
            raise InputError(
                "dataset", f"no earlier stage {reference!r} generates a dataset", suggestion(reference, makers)
            )
        _check({point.hamiltonian for point in stage.points}, reference)
        return cls(stage.size, stage.splits.counts(stage.samples))

    @classmethod
    def of_catalog(cls, catalog: Catalog) -> DatasetFacts:
        """Return the facts of an existing dataset.

        Raises:
            InputError: the samples have several Hamiltonians or open boundaries.
        """
        _check({point.hamiltonian for point in catalog.points}, str(catalog.path))
        codes = catalog.column("split")
        return cls(catalog.shape, {split: int(np.count_nonzero(codes == code)) for code, split in enumerate(SPLITS)})


def _check(hamiltonians: set[Hamiltonian], dataset: str) -> None:
    """Raise InputError unless all samples have the same Hamiltonian, with periodic boundaries.

    Effective fields, energies and symmetries belong to one Hamiltonian, and the networks use periodic padding.
    """
    if len(hamiltonians) > 1:
        problem = f"the samples of {dataset} have {len(hamiltonians)} Hamiltonians, and this job needs a single one"
        raise InputError("dataset", problem, "use a dataset without variants and without a grid over hamiltonian")
    if any(hamiltonian.boundary == "open" for hamiltonian in hamiltonians):
        problem = f"the samples of {dataset} have open boundaries, and the networks assume periodic ones"
        raise InputError("dataset", problem, 'use a dataset with boundary = "periodic"')
