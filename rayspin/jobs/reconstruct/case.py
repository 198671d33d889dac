"""The inputs of a reconstruction, opened in the process that uses them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rayspin.jobs.reconstruct.fields import DatasetFields, Fields, ImageFields, Spins
from rayspin.jobs.reconstruct.task import Task
from rayspin.physics import Hamiltonian, Microscope
from rayspin.reconstruction import Reconstruction, learned_spectrum, reconstruct_apart, spectrum
from rayspin.reconstruction.problem import Spectrum
from rayspin.rundir import replacing
from rayspin.storage import Catalog, Images

SPECTRUM = "spectrum.npz"
"""Name of the file with the spectrum that a run has learned."""


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
class Case:
    """The inputs of a reconstruction, loaded.

    Attributes:
        task: the task.
        fields: the coarse fields.
        hamiltonian: the Hamiltonian that the method assumes, if any.
        spectrum: the spectrum of fine fields, if the method or its start uses one.
        network: the network, if the method uses one.
        digest: SHA-256 of all inputs beside the job, in hexadecimal.
    """

    task: Task
    fields: Fields
    hamiltonian: Hamiltonian | None
    spectrum: Spectrum | None
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
        fields, hamiltonian = _fields(task, places)
        inputs = [fields.digest, *(_file_digest(path) for path in (places.weights,) if path is not None)]
        reader = None if places.fine is None else Catalog.open(places.fine, incomplete=task.incomplete).reader("train")
        if reader is not None:
            inputs.append(reader.digest)
        digest = hashlib.sha256(" ".join(inputs).encode()).hexdigest()

        def learn() -> Spectrum | None:
            count = 1 if folder is None else min(task.learned_from, len(fields))
            if reader is not None:
                return spectrum(reader.read(np.arange(min(task.learned_from, len(reader)))))
            return learned_spectrum(
                fields.coarse(0, count),
                task.scale,
                task.method.method,
                degradation=task.degradation,
                any_length=task.any_length,
            )

        learned = learn() if folder is None else _kept(folder / SPECTRUM, digest, learn)
        return cls(task, fields, task.hamiltonian or hamiltonian, learned, _network(places.weights), digest)

    def reconstruct(self, coarse_NYXC: Spins) -> Reconstruction:
        """Return the fine spins of coarse ones; the result for a field does not depend on the others."""
        return reconstruct_apart(
            coarse_NYXC,
            self.task.scale,
            self.task.method.method,
            spectrum=self.spectrum,
            network=self.network,
            degradation=self.task.degradation,
            hamiltonian=self.hamiltonian,
            any_length=self.task.any_length,
        )


def _fields(task: Task, places: Places) -> tuple[Fields, Hamiltonian | None]:
    """Return the fields, and their Hamiltonian if it is known."""
    if places.images is not None:
        return ImageFields(Images.read(places.images), task.scale), None
    assert places.dataset is not None
    reader = Catalog.open(places.dataset, incomplete=task.incomplete).reader(task.split)
    microscope = task.microscope or Microscope(degradation=task.degradation)
    return DatasetFields(reader, task.split, microscope, task.scale, task.seed), reader.hamiltonian


def _kept(path: Path, digest: str, learn: Callable[[], Spectrum | None]) -> Spectrum | None:
    """Return the spectrum that a file keeps for these inputs; if there is none, learn and keep it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["digest"]) == digest:
                return file["spectrum"]  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    learned = learn()
    if learned is not None:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, spectrum=learned, digest=np.array(digest))
    return learned


def _network(weights: Path | None) -> Any:
    if weights is None:
        return None
    from rayspin.models import load_weights  # imports PyTorch, which other methods don't need

    return load_weights(weights)


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
