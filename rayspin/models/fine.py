"""What the networks that reconstruct fine spins have in common: the start, unit length, and steps after the layers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.models.descent import Descent, DescentConfig
from rayspin.models.inference import apply
from rayspin.models.layers import check_spins, unit
from rayspin.models.starts import Projections, Start, StartName
from rayspin.physics import Degradation
from rayspin.physics.arguments import lattice

Scale = Literal[4, 8, 16]
"""Fine sites per coarse pixel along each axis."""


class FineNetConfig(Config):
    """Base class of the configs of networks that reconstruct fine spins."""

    scale: Scale
    """Fine sites per coarse pixel along each axis."""
    start: StartName | None = None
    """Estimate of the fine spins that the network corrects (a variant): "fourier", their Fourier interpolation;
    "wiener-em", a Wiener filter whose spectrum the training learns from its coarse data; or "wiener", the same with the
    spectrum of the fine data, for `objective.target = "fine"`. None (published) starts from nothing. A start that fits
    the coarse spins exactly leaves something to learn only with normalized output or with further terms in the loss."""
    start_projections: Annotated[int, Field(ge=0)] = 0
    """Number of alternating projections (onto the coarse data, and onto unit length) that improve the start."""
    normalized_output: bool = False
    """Normalize the fine spins to length 1. This is a variant; the published network doesn't constrain the length."""
    projections: Annotated[int, Field(ge=0)] = 0
    """Number of alternating projections after the layers. They are applied in evaluation only, and not trained."""
    descent: DescentConfig | None = None
    """Steps towards the local minimum of an energy after the layers, through which the layers are trained."""
    degradation: Degradation = Degradation()
    """The degradation of the coarse spins, for the start and for the steps after the layers."""

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if self.start is None and self.start_projections:
            raise InputError("start_projections", "there is no start to improve", 'set start = "fourier"')
        steps = [name for name in ("projections", "descent") if getattr(self, name)]
        if steps and not self.normalized_output:
            raise InputError(steps[0], "gives spins of unit length", "set normalized_output = true")
        return self

    @property
    def degrades(self) -> bool:
        """Whether the network uses its degradation."""
        return self.start is not None or self.projections > 0 or self.descent is not None

    @property
    def stride(self) -> int:
        """Both sides of a fine lattice must be multiples of it."""
        return self.scale

    @abstractmethod
    def build(self) -> FineNet:
        """Build the network with initial weights drawn from torch's global generator."""

    def check_lattice(self, shape: int | tuple[int, int]) -> None:
        """Check that a fine lattice can be reconstructed at this scale.

        Args:
            shape: rows and columns of the fine lattice, or one number for both.

        Raises:
            InputError: a side is not a multiple of the scale, or the coarse lattice is a single pixel.
        """
        rows, columns = lattice(shape, "open")
        if rows % self.scale or columns % self.scale:
            raise InputError(
                "scale",
                f"a lattice of {rows} x {columns} has no coarse version at scale {self.scale}",
                f"use sides that are multiples of {self.scale}, or another scale (4, 8 or 16)",
            )
        if rows == columns == self.scale:
            raise InputError(
                "scale",
                f"a lattice of {rows} x {columns} is a single pixel at scale {self.scale}",
                "use a larger lattice or a smaller scale",
            )


class FineNet(nn.Module):
    """Base class of the networks that reconstruct fine spins. Subclasses implement `correction`.

    Attributes:
        config: the layers of the network.
        start: the estimate that the layers correct, or None.
    """

    def __init__(self, config: FineNetConfig) -> None:
        super().__init__()
        self.config = config
        self.start: Start | None = None
        if config.start is not None:
            self.start = Start(config.start, config.start_projections, config.degradation, config.scale)
        self.projections = Projections(config.degradation, config.scale, config.projections)
        self.descent: Descent | None = None
        if config.descent is not None:
            self.descent = Descent(config.descent, config.degradation, config.scale)

    @abstractmethod
    def correction(self, coarse_NCYX: Tensor, start_NCYX: Tensor | None) -> Tensor:
        """The maps of the last layer, (N, 3, scale Y, scale X).

        Args:
            coarse_NCYX: (N, 3, Y, X) coarse spins.
            start_NCYX: (N, 3, scale Y, scale X) the start, of any length, or None.
        """

    def forward(self, coarse_NCYX: Tensor) -> Tensor:
        """Reconstruct fine spins.

        Args:
            coarse_NCYX: (N, 3, Y, X) coarse spins.

        Returns:
            fine spins, (N, 3, scale Y, scale X).

        Raises:
            InputError: the spins have another shape, type or device than the network takes.
        """
        # torch.compile would have to trace the checks.
        if not torch.compiler.is_compiling():
            check_spins(coarse_NCYX, next(self.parameters()))
            rows, columns = (self.config.scale * side for side in coarse_NCYX.shape[-2:])
            self.config.check_lattice((rows, columns))
        if self.start is None:
            fine_NCYX = self.correction(coarse_NCYX, None)
        else:
            start_NCYX = self.start(coarse_NCYX).contiguous(memory_format=torch.channels_last)
            fine_NCYX = start_NCYX + self.start.error * self.correction(coarse_NCYX, start_NCYX)
        if not self.config.normalized_output:
            return fine_NCYX
        if self.config.projections and not self.training:
            fine_NCYX = self.projections(fine_NCYX, coarse_NCYX)
        fine_NCYX = unit(fine_NCYX)
        return fine_NCYX if self.descent is None else self.descent(fine_NCYX, coarse_NCYX)

    def reconstruct(self, coarse_NYXC: npt.ArrayLike, batch_size: int = 32) -> npt.NDArray[np.float32]:
        """Reconstruct an array of coarse spins, in evaluation mode; see `rayspin.models.apply`.

        Args:
            coarse_NYXC: (N, Y, X, 3) coarse spins, or a single field (Y, X, 3).
            batch_size: number of samples to process at a time.

        Returns:
            (N, scale Y, scale X, 3) fine spins, or (scale Y, scale X, 3) for a single field, float32.

        Raises:
            InputError: the spins are invalid, their lattice doesn't fit the network, or the result is not finite.
        """
        return apply(self, coarse_NYXC, batch_size)
