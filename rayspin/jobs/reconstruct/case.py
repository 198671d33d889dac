"""The inputs of a reconstruction, opened in the process that uses them."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rayspin.inputs import DAMAGED_ARRAYS
from rayspin.jobs.reconstruct.fields import DatasetFields, Fields, ImageFields, Spins
from rayspin.jobs.reconstruct.task import Task
from rayspin.jobs.stand_in import StandIn
from rayspin.physics import Hamiltonian, Microscope
from rayspin.reconstruction import (
    MAP,
    AssumptionWarning,
    MAPFit,
    Reconstruction,
    learned_hamiltonian,
    learned_spectrum,
    learned_weight,
    reconstruct,
    reconstruct_apart,
    spectrum,
)
from rayspin.reconstruction.problem import Spectrum
from rayspin.rundir import replacing
from rayspin.storage import Catalog, Images, SpinReader

LEARNED = "learned.npz"
"""Name of the file with what a run has learned from its first fields."""


@dataclass(frozen=True)
class Places:
    """Files and folders of the inputs of a job.

    Attributes:
        dataset: folder of the dataset, or None for images.
        images: file or folder of the images, or None for a dataset.
        fine: folder of the dataset that the spectrum of "wiener" is taken from.
        weights: weights file of the network.
    """

    dataset: Path | None
    images: Path | None
    fine: Path | None
    weights: Path | None


@dataclass(frozen=True)
class Learned:
    """The values that a run learns before it reconstructs.

    Attributes:
        noise: amplitude of the noise that the method assumes.
        spectrum: the spectrum of fine fields, if the method or its start uses one.
        hamiltonian: the Hamiltonian that the method assumes, given or estimated; None without one.
        weight: the weight of the coarse data in MAP, if it is chosen by hidden pixels.
    """

    noise: float
    spectrum: Spectrum | None
    hamiltonian: Hamiltonian | None
    weight: float | None = None

    @classmethod
    def kept(cls, path: Path, digest: str) -> Learned | None:
        """Return the values in a file for inputs with this digest; None if there is no such file or it is damaged."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if str(file["digest"]) != digest:
                    return None
                table = json.loads(str(file["hamiltonian"]))
                hamiltonian = None if table is None else Hamiltonian(**table)
                spectrum_YXCC = file["spectrum"] if "spectrum" in file.files else None
                weight = float(file["weight"]) if "weight" in file.files else None
                return cls(float(file["noise"]), spectrum_YXCC, hamiltonian, weight)
        except DAMAGED_ARRAYS:
            return None

    def keep(self, path: Path, digest: str) -> None:
        """Write a file.

        Raises:
            MachineError: the file cannot be written.
        """
        table = None if self.hamiltonian is None else self.hamiltonian.to_table()
        arrays: dict[str, Any] = {"digest": digest, "noise": self.noise, "hamiltonian": json.dumps(table)}
        if self.spectrum is not None:
            arrays["spectrum"] = self.spectrum
        if self.weight is not None:
            arrays["weight"] = self.weight
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)


@dataclass(frozen=True)
class Case:
    """The inputs of a reconstruction, loaded.

    Attributes:
        task: the task.
        fields: the coarse fields.
        learned: the values that the run has learned.
        network: the network, if the method uses one.
        digest: SHA-256 of all inputs other than the job file, in hexadecimal.
    """

    task: Task
    fields: Fields
    learned: Learned
    network: Any
    digest: str

    @classmethod
    def open(cls, task: Task, places: Places, folder: Path | None = None) -> Case:
        """Open the inputs of a task.

        Args:
            task: the task.
            places: files of its inputs.
            folder: folder of the run, which keeps the learned spectrum; None learns from the first field and keeps
                nothing, to measure the cost.

        Raises:
            InputError: the data or the weights cannot be used.
        """
        fields, hamiltonian = _fields(task, _source(task, places))
        inputs = [fields.digest, *(_file_digest(path) for path in (places.weights,) if path is not None)]
        reader = None if places.fine is None else Catalog.open(places.fine, incomplete=task.incomplete).reader("train")
        if reader is not None:
            inputs.append(reader.digest)
        digest = hashlib.sha256(" ".join(inputs).encode()).hexdigest()

        learned = None if folder is None else Learned.kept(folder / LEARNED, digest)
        if learned is None:
            count = 1 if folder is None else min(task.learned_from, len(fields))
            # The summary says what the coarse spins contradict.
            with warnings.catch_warnings(action="ignore", category=AssumptionWarning):
                learned = _learn(task, fields, reader, task.hamiltonian or hamiltonian, count)
            if folder is not None:
                learned.keep(folder / LEARNED, digest)
        return cls(task, fields, learned, _network(places.weights), digest)

    @classmethod
    def stand_in(cls, task: Task, source: StandIn | Images, fine: StandIn | None, network: Any) -> Case:
        """Return inputs of the same sizes before they exist, to measure the cost.

        Args:
            task: the task.
            source: stand-in of the samples, or the images.
            fine: stand-in of the samples that the spectrum of "wiener" is taken from.
            network: an untrained network, if the method uses one.
        """
        fields, hamiltonian = _fields(task, source)
        return cls(task, fields, _learn(task, fields, fine, task.hamiltonian or hamiltonian, 1), network, "")

    def reconstruct(self, coarse_NYXC: Spins) -> Reconstruction:
        """Return the fine spins of coarse ones; the result for a field does not depend on the others."""
        method = self.task.method.build()
        if isinstance(method, MAPFit):
            # Its Hamiltonian was estimated before.
            method = method.map
        if isinstance(method, MAP) and self.learned.weight is not None:
            method = method.with_updates(weight=self.learned.weight)
        # The summary says what the coarse spins contradict.
        with warnings.catch_warnings(action="ignore", category=AssumptionWarning):
            return reconstruct_apart(
                coarse_NYXC,
                self.task.scale,
                method,
                spectrum=self.learned.spectrum,
                network=self.network,
                hamiltonian=self.learned.hamiltonian,
                noise=self.learned.noise,
                degradation=self.task.degradation,
                any_length=self.task.any_length,
            )


def _source(task: Task, places: Places) -> SpinReader | Images:
    """Open the samples or the images of a task."""
    if places.dataset is not None:
        return Catalog.open(places.dataset, incomplete=task.incomplete).reader(task.split)
    assert places.images is not None
    return Images.read(places.images)


def _fields(task: Task, source: SpinReader | StandIn | Images) -> tuple[Fields, Hamiltonian | None]:
    """Return the coarse fields of samples or images, and their Hamiltonian if it is known."""
    if isinstance(source, Images):
        return ImageFields(source, task.scale), None
    microscope = task.microscope or Microscope(degradation=task.degradation)
    return DatasetFields(source, task.split, microscope, task.scale, task.seed), source.hamiltonian


def _learn(
    task: Task, fields: Fields, fine: SpinReader | StandIn | None, hamiltonian: Hamiltonian | None, count: int
) -> Learned:
    """Learn from the first `count` coarse fields, or the spectrum from fine ones."""
    method, scale = task.method.build(), task.scale
    coarse_NYXC = fields.coarse(0, count)
    known: dict[str, Any] = {"degradation": task.degradation, "any_length": task.any_length, "hamiltonian": hamiltonian}
    known["noise"] = task.noise
    if task.noise == "estimated":
        # MAP separates noise from spins better than other methods, which all use the same estimate.
        estimator = method if isinstance(method, MAP) else "fourier"
        known["noise"] = reconstruct(coarse_NYXC, scale, estimator, **(known | {"noise": None})).noise
    if fine is not None:
        fine_NYXC = fine.read(np.arange(min(task.learned_from, len(fine))))
        return Learned(known["noise"], spectrum(fine_NYXC), hamiltonian)
    if fitted := learned_hamiltonian(coarse_NYXC, scale, method, **known):
        method, known["hamiltonian"] = fitted
    learned = learned_spectrum(coarse_NYXC, scale, method, **known)
    weight = learned_weight(coarse_NYXC, scale, method, spectrum=learned, **known)
    return Learned(known["noise"], learned, known["hamiltonian"], weight)


def _network(weights: Path | None) -> Any:
    if weights is None:
        return None
    from rayspin.models import load_weights  # imports PyTorch, which other methods don't need

    return load_weights(weights)


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
