"""What a stage needs to know of a dataset before it is read, or even made."""

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
    """What all stages share that read a dataset."""

    references: ClassVar[tuple[str, ...]] = ("dataset",)

    dataset: str
    """Folder of a dataset, relative to the working folder; `@name` for the stage of that name in a pipeline."""
    incomplete: bool = pydantic.Field(default=False, exclude_if=lambda incomplete: not incomplete)
    """Take the samples that are there of a dataset that lacks some; by default it is refused."""

    def facts(self, run: RunDir, earlier: Mapping[str, Stage]) -> DatasetFacts:
        """The facts of the dataset, for a run in this folder after these stages; errors as of `DatasetFacts.of`."""
        return DatasetFacts.of(self.dataset, run, earlier, incomplete=self.incomplete)

    def open_dataset(self, folder: Path) -> Catalog:
        """The catalog of the dataset, which is in `folder`.

        Raises:
            InputError: no dataset, none of its shards is done, or one that lacks samples and is not to be taken so.
        """
        return Catalog.open(folder, incomplete=self.incomplete)


@dataclass(frozen=True)
class DatasetFacts:
    """The lattice of a dataset and the sizes of its splits."""

    shape: tuple[int, int]
    counts: dict[Split, int]
    """Samples in each split."""

    @classmethod
    def of(cls, reference: str, run: RunDir, earlier: Mapping[str, Stage], *, incomplete: bool = False) -> DatasetFacts:
        """The facts of the dataset that a stage refers to: a folder, or `@name` for an earlier stage.

        Raises:
            InputError: no such stage, no dataset there or one that lacks samples, or samples that no network can take.
        """
        if not reference.startswith("@"):
            return cls.of_catalog(Catalog.open(run.locate(reference), incomplete=incomplete))
        stage = earlier.get(reference[1:])
        if not isinstance(stage, Generate):
            makers = [f"@{name}" for name, other in earlier.items() if isinstance(other, Generate)]
            raise InputError(
                "dataset", f"{reference!r} is no earlier stage that generates", suggestion(reference, makers)
            )
        _check({point.hamiltonian for point in stage.points}, reference)
        return cls(stage.size, stage.splits.counts(stage.samples))

    @classmethod
    def of_catalog(cls, catalog: Catalog) -> DatasetFacts:
        """The facts of a dataset that is there.

        Raises:
            InputError: samples that no network can take.
        """
        _check({point.hamiltonian for point in catalog.points}, str(catalog.path))
        codes = catalog.column("split")
        return cls(catalog.shape, {split: int(np.count_nonzero(codes == code)) for code, split in enumerate(SPLITS)})


def _check(hamiltonians: set[Hamiltonian], dataset: str) -> None:
    """Fields, energies and symmetries are those of one Hamiltonian, and the networks are periodic."""
    if len(hamiltonians) > 1:
        problem = f"the samples of {dataset} have {len(hamiltonians)} Hamiltonians, and this needs a single one"
        raise InputError("dataset", problem, "generate one without variants and without a grid over hamiltonian")
    if any(hamiltonian.boundary == "open" for hamiltonian in hamiltonians):
        problem = f"the samples of {dataset} have open edges, and the networks wrap around them"
        raise InputError("dataset", problem, 'generate one with boundary = "periodic"')
