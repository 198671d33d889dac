"""The network of D. B. Lee et al., Sci. Rep. 13 (2023), which reconstructs fine spins from coarse ones."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.models.degradation import Restore
from rayspin.models.field import Filters
from rayspin.models.layers import PeriodicConv, check_spins, convolution_block
from rayspin.physics import Degradation
from rayspin.physics.arguments import lattice

Scale = Literal[4, 8, 16]
"""Fine sites per coarse pixel along each axis."""

UPSAMPLING_FILTERS: dict[int, tuple[int, ...]] = {4: (16, 8), 8: (32, 16, 8), 16: (48, 32, 16, 8)}
"""Published numbers of filters of the up-sampling blocks, by scale (x2^2, x2^3 and x2^4 in the paper)."""


class SuperResolutionNetConfig(Config):
    """The layers of a `SuperResolutionNet`; the defaults are the published network."""

    scale: Scale
    """Fine sites per coarse pixel along each axis."""
    expanding_filters: Filters = (64, 64, 64, 64)
    """Number of filters of each block on the coarse lattice."""
    negative_slope: float = 0.3
    """Slope of the leaky ReLU below zero. The paper doesn't give it; 0.3 is the default of Keras."""
    normalized_output: bool = False
    """Normalize the fine spins to length 1. This is a variant; the published network doesn't constrain the length."""
    residual: Degradation | None = None
    """The degradation of the coarse spins. If set, the network adds a learned correction to their Fourier interpolation
    (a variant). The interpolation alone fits the coarse spins exactly, so there is a correction to learn only with
    normalized output or with penalty weights in the loss."""

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

    def build(self) -> SuperResolutionNet:
        """Build the network with initial weights drawn from torch's global generator."""
        return SuperResolutionNet(self)


class SuperResolutionNet(nn.Module):
    """A network that generates fine spins consistent with a coarse image.

    Each expanding block consists of periodic padding, a 3x3 convolution, batch norm and leaky ReLU on the coarse
    lattice. Each up-sampling block consists of the same layers followed by up-sampling x2 (nearest). The last layer is
    a periodic convolution to three components.

    Attributes:
        config: the layers of the network.
    """

    def __init__(self, config: SuperResolutionNetConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential()
        filters = 3
        for number, wanted in enumerate((*config.expanding_filters, *UPSAMPLING_FILTERS[config.scale])):
            # Each up-sampling is fused with the next convolution but still counts as a layer, since the names of
            # weights in files contain the layer numbers.
            upsamplings = max(0, number - len(config.expanding_filters))
            activation = nn.LeakyReLU(config.negative_slope)
            block = convolution_block(filters, wanted, activation, upsampling=upsamplings > 0)
            self.layers.add_module(str(number + upsamplings), block)
            filters = wanted
        self.last = PeriodicConv(filters, 3, bias=True, upsampling=True)
        self.start = Restore(config.residual, config.scale) if config.residual is not None else None
        if self.start is not None:
            # The untrained network then equals the Fourier interpolation.
            for parameter in self.last.parameters():
                nn.init.zeros_(parameter)

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
        fine_NCYX: Tensor = self.last(self.layers(coarse_NCYX))
        if self.start is not None:
            fine_NCYX = fine_NCYX + self.start(coarse_NCYX)
        return functional.normalize(fine_NCYX, dim=1) if self.config.normalized_output else fine_NCYX
