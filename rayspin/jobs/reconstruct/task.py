"""The keys of a job of kind "reconstruct": its data and its method."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import pydantic

from rayspin.errors import InputError
from rayspin.jobs.methods import Choice, NamedChoice
from rayspin.jobs.stage import Stage
from rayspin.physics import Degradation, Hamiltonian, Microscope
from rayspin.reconstruction import NETWORK
from rayspin.storage import Split


class Task(Stage):
    """The keys of a reconstruction; the subclass `Reconstruct` has the methods of a job."""

    references: ClassVar[tuple[str, ...]] = ("dataset", "images", "fine", "weights")

    kind: Literal["reconstruct"] = "reconstruct"
    dataset: str | None = None
    """Folder of a dataset of fine spins, relative to the working directory, or `@name` for an earlier stage of the
    pipeline. Its samples are made coarse, and the results are compared with them."""
    images: str | None = None
    """In place of `dataset`: a file, or a folder of files, of coarse spins (N, Y, X, 3), or (N, Y, X, 1) for S_z alone:
    NetCDF, .npz or .npy."""
    scale: int = pydantic.Field(gt=1, le=64)
    """Fine sites per coarse pixel along each axis."""
    method: NamedChoice = Choice(method="map")
    """Method of reconstruction: its name, or a table such as { method = "map", options = { weight = 20 } }."""
    hamiltonian: Hamiltonian | None = None
    """Hamiltonian that the method assumes. Default: that of the dataset; none for images."""
    degradation: Degradation = Degradation()
    """Degradation that the method assumes."""
    microscope: Microscope | None = None
    """Microscope that makes the samples of a dataset coarse. Default: the degradation, without noise."""
    noise: Annotated[float, pydantic.Field(ge=0)] | Literal["estimated"] = 0.0
    """Noise that the method assumes: amplitude alpha of alpha R with random unit vectors R, which has the variance
    alpha^2 / 3 in each component; or "estimated", once from the first `learned_from` fields."""
    any_length: bool = False
    """Accept coarse spins of lengths above 1 without noise, as of uncalibrated images."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Root seed of the noise of the microscope. The i-th sample of the split uses the random stream (seed, i)."""
    weights: str | None = None
    """Network of the method "network"; "projections" and "map" start from its output. Weights file, or folder of a
    training; `@name` for an earlier stage; or `pretrained:NAME` for a network that is shipped with the package."""
    fine: str | None = None
    """Folder of a dataset of fine spins, or `@name`, from whose training samples the method "wiener" takes its
    spectrum. Default: the dataset."""
    learned_from: int = pydantic.Field(default=64, gt=0)
    """Number of fields from which a spectrum and the noise are learned, once for the whole run: the first coarse fields
    for "wiener-em", the first training samples of `fine` for "wiener"."""
    split: Split = "test"
    """Split of the dataset to reconstruct."""
    samples: int | None = pydantic.Field(default=None, gt=0)
    """Number of fields, counted from the first; default: all."""
    shard_samples: int = pydantic.Field(default=16, gt=0)
    """Fields in each shard (file). The fields do not depend on it, except for rounding."""
    incomplete: bool = pydantic.Field(default=False, exclude_if=lambda incomplete: not incomplete)
    """Accept a dataset with missing samples and use those that exist; by default it is an error."""

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset is None) == (self.images is None):
            raise InputError("dataset", "one of dataset and images is needed", "give either, not both")
        if self.images is not None and self.microscope is not None:
            raise InputError("microscope", "images are coarse already", "remove it, or use a dataset")
        if self.weights is None and self.method.method == NETWORK:
            raise InputError(
                "weights", 'the method "network" needs a network', "give a weights file or pretrained:NAME"
            )
        if self.weights is not None and self.method.method not in (NETWORK, "projections", "map"):
            raise InputError("weights", f"the method {self.method.method!r} takes no network", "remove it")
        if self.method.method == "wiener" and self.dataset is None and self.fine is None:
            raise InputError("fine", 'the method "wiener" needs fine fields', 'give a dataset, or use "wiener-em"')
        return self
