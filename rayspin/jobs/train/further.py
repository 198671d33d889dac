"""Further datasets of a training, whose samples replace a share of those of the main dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pydantic

from rayspin.errors import InputError
from rayspin.jobs.generate.facts import DatasetFacts
from rayspin.jobs.stage import Stage
from rayspin.rundir import RunDir, differing

Share = Annotated[float, pydantic.Field(gt=0, le=1)]
"""Share of the samples of an epoch."""


def _shares_fit(datasets: dict[str, float]) -> dict[str, float]:
    total = sum(datasets.values())
    # The tolerance allows for rounding of shares whose sum is 1.
    if total > 1 + 1e-9:
        raise InputError("", f"the shares sum to {total:.4g}", "reduce them to a sum of at most 1")
    return datasets


FurtherDatasets = Annotated[dict[str, Share], pydantic.AfterValidator(_shares_fit)]
"""Shares by dataset: a folder, or `@name` for an earlier stage of the pipeline."""


def check_further(
    datasets: Mapping[str, float],
    main: DatasetFacts,
    run: RunDir,
    earlier: Mapping[str, Stage],
    *,
    incomplete: bool,
    any_hamiltonian: bool,
) -> None:
    """Check that further datasets exist, or are made by earlier stages, and can be mixed with the main one.

    Args:
        datasets: share of the samples by dataset.
        main: facts of the main dataset.
        run: folder of the training.
        earlier: stages before it in its pipeline by name.
        incomplete: accept datasets with missing samples.
        any_hamiltonian: accept datasets of any Hamiltonians, for trainings that use none.

    Raises:
        InputError: a dataset is missing, is named twice, has another lattice, has no training samples, or its
            Hamiltonian differs from the main one in more than the external field without `any_hamiltonian`.
    """
    if len({run.locate(name).resolve() for name in datasets}) < len(datasets):
        raise InputError("further_datasets", "the same dataset is named twice", "give each one once, with one share")
    for name in datasets:
        facts = DatasetFacts.of(name, run, earlier, incomplete=incomplete, several=True)
        if facts.shape != main.shape:
            sizes = " and ".join("{} x {}".format(*shape) for shape in (main.shape, facts.shape))
            problem = f"lattices of {sizes} sites can't be mixed"
            raise InputError(f"further_datasets.{name}", problem, "use datasets of one size")
        if not facts.counts["train"]:
            raise InputError(f"further_datasets.{name}", "has no training samples", "generate more samples")
        if not any_hamiltonian:
            _check_hamiltonians(name, main, facts)


def _check_hamiltonians(name: str, main: DatasetFacts, facts: DatasetFacts) -> None:
    """Raise InputError unless the Hamiltonians equal the main one apart from the external field.

    The network learns the field of the main Hamiltonian, which doesn't depend on the field that a texture was made in.
    """
    [hamiltonian] = main.hamiltonians
    for other in facts.hamiltonians:
        inside = other.with_updates(external_field=hamiltonian.external_field)
        if keys := [key for key, _, _ in differing(hamiltonian.to_table(), inside.to_table())]:
            problem = f"its Hamiltonian differs from that of the dataset in {', '.join(keys)}"
            remedy = "use a dataset that differs in external_field only"
            raise InputError(f"further_datasets.{name}", problem, remedy)
