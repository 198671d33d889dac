"""Base class of the evaluations of super-resolution: networks and methods of reconstruction, named in the job file."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic

from rayspin.analysis.resolution import BASELINES, Upsample, by_baseline, by_network
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.evaluate.choices import Choices, Networks, ScaledChoice
from rayspin.jobs.evaluate.job import Evaluation, Spins
from rayspin.jobs.evaluate.network import digest_of
from rayspin.jobs.generate.facts import DatasetFacts, DatasetStage
from rayspin.jobs.stage import Stage
from rayspin.jobs.train.references import Trained, weights_file
from rayspin.models import FineNet, FineNetConfig, load_weights
from rayspin.physics import Degradation, Hamiltonian
from rayspin.reconstruction import AssumptionWarning, reconstruct, spectrum
from rayspin.rundir import RunDir, differing
from rayspin.storage import Catalog, SpinReader
from rayspin.training import SuperResolutionObjective
from rayspin.training.sources import SampleSource

ONLY = "dataset"
"""Name of the dataset of an evaluation that has one."""

SPECTRUM_FIELDS = 200
"""Largest number of training samples whose spectrum the method "wiener" is given."""


@dataclass(frozen=True)
class Loaded:
    """The inputs of an evaluation of super-resolution.

    Attributes:
        readers: samples of the split, by the name of the dataset.
        spectra: spectrum of the training samples by the name of the dataset, if a method needs it.
        networks: networks by name and scale.
        digest: SHA-256 of all weights files and datasets, in hexadecimal.
    """

    readers: Mapping[str, SampleSource]
    spectra: Mapping[str, Any]
    networks: Mapping[str, Mapping[int, FineNet]]
    digest: str

    @property
    def count(self) -> int:
        """Number of samples of the split in the smallest dataset."""
        return min(len(reader) for reader in self.readers.values())

    def read(self, dataset: str, first: int, count: int) -> Spins:
        """Read the spins of `count` samples of a dataset from position `first`, (count, Y, X, 3)."""
        return self.readers[dataset].read(np.arange(first, first + count))


class SuperResolutionEvaluation(Evaluation):
    """Base class of the evaluations of networks and methods of reconstruction."""

    networks: Networks = pydantic.Field(default={})
    """Networks by their names in tables: for each a weights file, the folder of a training, `@name` or
    `pretrained:NAME`, or a list of these with networks of different scales."""
    methods: Choices = ()
    """Methods of reconstruction: names, or tables such as
    { method = "projections", options = { iterations = 400 } }."""
    degradation: Degradation = Degradation()
    """Degradation of the coarse spins, which the methods assume; it must be that of the networks' training."""

    @abstractmethod
    def data(self) -> Mapping[str, str]:
        """Return the references to the datasets by name."""

    @abstractmethod
    def scales_in(self, networks: Mapping[str, Mapping[int, Any]]) -> tuple[int, ...]:
        """Return the scales to evaluate, given the networks by name and scale."""

    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check that datasets and weights exist or are made by earlier stages, and that they fit together."""
        run.check_same(self.identity_in(run), self.may_change)
        facts = {
            name: DatasetFacts.of(reference, run, earlier, incomplete=self.incomplete)
            for name, reference in self.data().items()
        }
        networks: dict[str, dict[int, Any]] = {name: {} for name in self.networks}
        for name, references in self.networks.items():
            where = f"networks.{name}"
            for reference in references:
                trained = Trained.of(reference, where, run, earlier)
                config = self._checked(trained, reference, where, facts)
                if config.scale in networks[name]:
                    raise InputError(where, f"has two networks of scale {config.scale}", "give them different names")
                networks[name][config.scale] = config
        scales = self.scales_in(networks)
        for name, each in networks.items():
            if not set(scales) & set(each):
                problem = f"there is no network of scale {' or '.join(map(str, scales))}"
                raise InputError(f"networks.{name}", problem, "give weights of that scale, or another scale")
        for fact in facts.values():
            fact.check_samples(self.split, self.samples or 1)
            for scale in scales:
                self.degradation.check_lattice(fact.shape, scale)
        for scale in scales:
            self._check_names(scale, networks)

    def own_hamiltonians(self, facts: Mapping[str, DatasetFacts]) -> list[Hamiltonian]:
        """Return the Hamiltonians of the data that each network must have been trained for; empty accepts any."""
        return [hamiltonian for fact in facts.values() for hamiltonian in fact.hamiltonians]

    def places(self, run: RunDir) -> tuple[dict[str, Path], dict[str, list[Path]]]:
        """Return the folders of the datasets and the weights files, by name."""
        datasets = {name: run.locate(reference).resolve() for name, reference in self.data().items()}
        files = {name: [weights_file(one, run).resolve() for one in each] for name, each in self.networks.items()}
        return datasets, files

    def open(self, places: tuple[dict[str, Path], dict[str, list[Path]]]) -> Loaded:
        """Load the networks and open the splits; see `Evaluation.open`."""
        datasets, files = places
        catalogs = {name: Catalog.open(folder, incomplete=self.incomplete) for name, folder in datasets.items()}
        readers = {name: catalog.reader(self.split) for name, catalog in catalogs.items()}
        spectra = {}
        if self._needs_spectra:
            spectra = {name: _spectrum(catalog.reader("train")) for name, catalog in catalogs.items()}
        loaded: dict[str, list[Any]] = {name: [load_weights(file) for file in each] for name, each in files.items()}
        networks = {name: {network.config.scale: network for network in each} for name, each in loaded.items()}
        every = [file for each in files.values() for file in each]
        return Loaded(readers, spectra, networks, digest_of(every, list(readers.values())))

    def stand_in(self, run: RunDir, earlier: Mapping[str, Stage]) -> Loaded:
        """Return a stand-in of the inputs; see `Evaluation.stand_in`."""
        readers = {
            name: DatasetFacts.of(reference, run, earlier, incomplete=self.incomplete).stand_in(self.split)
            for name, reference in self.data().items()
        }
        networks: dict[str, dict[int, FineNet]] = {}
        for name, references in self.networks.items():
            each: list[Any] = [Trained.of(one, f"networks.{name}", run, earlier).network for one in references]
            networks[name] = {config.scale: config.build() for config in each}
        spectra = {name: spectrum(reader.read([0])) for name, reader in readers.items()} if self._needs_spectra else {}
        return Loaded(readers, spectra, networks, "")

    def methods_at(self, case: Loaded, dataset: str, scale: int) -> dict[str, Upsample]:
        """Return the networks and methods for a scale, by name.

        Args:
            case: the inputs.
            dataset: name of the dataset whose Hamiltonian and spectrum the methods use.
            scale: fine sites per coarse pixel along each axis.
        """
        networks = {name: by_network(each[scale]) for name, each in case.networks.items() if scale in each}
        methods = {choice.name: self._method(case, dataset, choice) for choice in self._choices(scale)}
        return networks | methods

    def first_share(self, case: Loaded, dataset: str) -> Spins:
        """Return the spins of the first share, for pictures of its first sample as in the tables.

        Methods that learn from all fields of a call would give another result for a sample alone.
        """
        return case.read(dataset, 0, min(self.share_samples, self.samples or case.count))

    @property
    def _needs_spectra(self) -> bool:
        return any(choice.method == "wiener" for choice in self.methods)

    def _method(self, case: Loaded, dataset: str, choice: ScaledChoice) -> Upsample:
        if choice.method in BASELINES:
            return by_baseline(choice.build(), self.degradation)
        method, hamiltonian = choice.build(), case.readers[dataset].hamiltonian

        def reconstructed(coarse_NYXC: Any, scale: int) -> Spins:
            # The truth is known, so a contradiction is visible in the errors.
            with warnings.catch_warnings(action="ignore", category=AssumptionWarning):
                return reconstruct(
                    coarse_NYXC,
                    scale,
                    method,
                    degradation=self.degradation,
                    hamiltonian=hamiltonian,
                    spectrum=case.spectra.get(dataset),
                ).spins

        return reconstructed

    def _choices(self, scale: int) -> list[ScaledChoice]:
        return [choice for choice in self.methods if not choice.scales or scale in choice.scales]

    def _checked(
        self, trained: Trained, reference: str, where: str, facts: Mapping[str, DatasetFacts]
    ) -> FineNetConfig:
        hamiltonians = self.own_hamiltonians(facts)
        trained.check(FineNetConfig, hamiltonians[0] if hamiltonians else None, reference, where, self.kind)
        if not isinstance(trained.objective, Mapping) or not trained.objective:
            problem = f"the file of {reference!r} does not contain the training objective"
            raise InputError(where, problem, "give a weights file that a training wrote")
        objective = build(SuperResolutionObjective, trained.objective, f"{where}: objective")
        if objective.degradation != self.degradation:
            there, here = objective.degradation.to_table(), self.degradation.to_table()
            listed = ", ".join(f"{key} {new}, not {old}" for key, old, new in differing(there, here))
            problem = f"is not that of the training of {reference!r} ({listed})"
            raise InputError("degradation", problem, "give the degradation of the networks' training")
        network = trained.network
        assert isinstance(network, FineNetConfig)
        for fact in facts.values():
            network.check_lattice(fact.shape)
        return network

    def _check_names(self, scale: int, networks: Mapping[str, Mapping[int, Any]]) -> None:
        names = [name for name, each in networks.items() if scale in each]
        names += [choice.name for choice in self._choices(scale)]
        if not names:
            raise InputError("methods", f"there is no method for scale {scale}", "name a network or a method")
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            problem = f"{', '.join(sorted(twice))} is named twice at scale {scale}"
            raise InputError("methods", problem, "give each method a label of its own")


class OneDataset(DatasetStage, SuperResolutionEvaluation):
    """Base class of the evaluations of super-resolution on one dataset."""

    references: ClassVar[tuple[str, ...]] = ("dataset",)

    other_hamiltonian: bool = pydantic.Field(default=False, exclude_if=lambda other: not other)
    """Accept a dataset whose Hamiltonian is not that of the networks' training; by default it is an error."""

    def data(self) -> Mapping[str, str]:
        """Return the reference to the dataset."""
        return {ONLY: self.dataset}

    def own_hamiltonians(self, facts: Mapping[str, DatasetFacts]) -> list[Hamiltonian]:
        """Return the Hamiltonian of the dataset, unless another one is accepted."""
        return [] if self.other_hamiltonian else super().own_hamiltonians(facts)


def _spectrum(reader: SpinReader) -> Any:
    if not len(reader):
        problem = 'the split "train" has no sample for the spectrum of the method "wiener"'
        raise InputError("dataset", problem, 'use "wiener-em", or a dataset with training samples')
    return spectrum(reader.read(np.arange(min(len(reader), SPECTRUM_FIELDS))))
