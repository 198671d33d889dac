"""What the networks that estimate effective fields have in common: their input, the units of their output, and F*."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from rayspin.config import Config
from rayspin.models.inference import apply
from rayspin.models.layers import check_spins, check_stride
from rayspin.physics.arguments import spin_field

Filters = Annotated[tuple[Annotated[int, Field(ge=1, le=2**14)], ...], Field(min_length=1, max_length=64)]
"""Numbers of filters of consecutive blocks. The generous bounds keep a damaged file from exhausting the memory."""


class FieldOutput(Config):
    """The relation of a network's output to the effective field: F* = output + isotropic * S."""

    isotropic: float = 0.0
    """Coefficient c of the isotropic part c S of the field, which the output lacks, J; 0 for a network that estimates
    the whole field."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the last layer's maps in the output, J; the layers of a network for F - c S are trained on values of
    order 1."""


class FieldNetConfig(Config):
    """Base class of the configs of networks that estimate effective fields."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Total stride; both sides of a lattice must be multiples of it."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """Largest distance along an axis over which spins affect the estimate, sites."""

    @abstractmethod
    def build(self) -> FieldNet:
        """Build the network with initial weights drawn from torch's global generator."""

    def check_lattice(self, shape: int | tuple[int, int]) -> None:
        """Check that a lattice fits the network.

        Args:
            shape: rows and columns, or one number for both.

        Raises:
            InputError: a side is not a multiple of `stride`.
        """
        check_stride(shape, self.stride)


class FieldNet(nn.Module):
    """Base class of the networks that estimate the effective field of spins.

    The output is what the network was trained to give, in units of J: F* or, if `output.isotropic` is not 0, the
    deviation f* = F* - c S from the isotropic part of the field. Subclasses implement `layers`.

    Attributes:
        config: the layers of the network.
        output: the relation of the output to F*.
    """

    def __init__(self, config: FieldNetConfig) -> None:
        super().__init__()
        self.config = config
        self.output = FieldOutput()

    @abstractmethod
    def layers(self, spins_NCYX: Tensor) -> Tensor:
        """The maps of the last layer for spins (N, 3, Y, X), of the same shape."""

    def forward(self, spins_NCYX: Tensor) -> Tensor:
        """Estimate the field, or the deviation, of spins.

        Args:
            spins_NCYX: (N, 3, Y, X) spins of any length.

        Returns:
            F* or f*, J, (N, 3, Y, X).

        Raises:
            InputError: the spins have another shape, type or device than the network takes.
        """
        # torch.compile would have to trace the checks.
        if not torch.compiler.is_compiling():
            check_spins(spins_NCYX, next(self.parameters()))
            self.config.check_lattice((spins_NCYX.shape[-2], spins_NCYX.shape[-1]))
        return self.output.scale * self.layers(spins_NCYX)

    def field(self, spins_NYXC: npt.ArrayLike, batch_size: int = 32) -> npt.NDArray[np.float32]:
        """Estimate the effective field F* of an array of spins, whatever the network was trained to give.

        The network is applied in evaluation mode, on its device; see `rayspin.models.apply`.

        Args:
            spins_NYXC: (N, Y, X, 3) spins of any length, or a single field (Y, X, 3).
            batch_size: number of samples to process at a time.

        Returns:
            F*, J, of the shape of the spins, float32.

        Raises:
            InputError: the spins are invalid, their lattice doesn't fit the network, or the result is not finite.
        """
        spins = spin_field(spins_NYXC).astype(np.float32, copy=False)
        return apply(self, spins, batch_size) + np.float32(self.output.isotropic) * spins
