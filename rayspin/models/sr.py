"""The super-resolution network of D. B. Lee et al., Sci. Rep. 13 (2023): coarse spins in, fine spins out."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.models.degradation import Restore
from rayspin.models.fcn import Filters
from rayspin.models.layers import PeriodicConv, check_spins, convolution_block
from rayspin.physics import Degradation
from rayspin.physics.arguments import lattice

Scale = Literal[4, 8, 16]

UPSAMPLING_FILTERS: dict[int, tuple[int, ...]] = {4: (16, 8), 8: (32, 16, 8), 16: (48, 32, 16, 8)}
"""Published filters of the up-sampling blocks for each scale (x2^2, x2^3 and x2^4 in the paper)."""


class SuperResolutionNetConfig(Config):
    """The layers of a `SuperResolutionNet`; the published values are the defaults."""

    scale: Scale
    """Fine sites for one coarse pixel, along each axis."""
    expanding_filters: Filters = (64, 64, 64, 64)
    """Filters of the blocks that work on the coarse lattice."""
    negative_slope: float = 0.3
    """Slope of the leaky ReLU below zero: not in the paper; 0.3 is the default of Keras."""
    normalized_output: bool = False
    """Fine spins of length 1, by division (a variant; the published network leaves the length free)."""
    residual: Degradation | None = None
    """The degradation that the coarse spins went through. With it, the network starts from their Fourier
    interpolation and learns the rest (a variant); only with normalized output, or a loss with weights, is there a rest
    to learn, since the interpolation alone fits the coarse spins exactly."""

    def check_lattice(self, shape: int | tuple[int, int]) -> None:
        """Raise InputError unless a fine lattice of (rows, columns) has a coarse one."""
        rows, columns = lattice(shape, "open")
        if rows % self.scale or columns % self.scale:
            raise InputError(
                "scale",
                f"a lattice of {rows} x {columns} has no coarse version at scale {self.scale}",
                f"use sides that are multiples of {self.scale}, or another scale of 4, 8 and 16",
            )
        if rows == columns == self.scale:
            raise InputError(
                "scale",
                f"a lattice of {rows} x {columns} is a single pixel at scale {self.scale}",
                "use a larger lattice, or a smaller scale",
            )

    def build(self) -> SuperResolutionNet:
        """The network with fresh weights from torch's global generator."""
        return SuperResolutionNet(self)


class SuperResolutionNet(nn.Module):
    """A network that draws the fine spins which a coarse image may have come from.

    Expanding part: blocks of periodic padding, convolution 3x3, batch norm and leaky ReLU on the coarse
    lattice. Up-sampling blocks: the same, then up-sampling x2 (nearest). At the end a periodic convolution
    to three components.
    """

    def __init__(self, config: SuperResolutionNetConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential()
        filters = 3
        for number, wanted in enumerate((*config.expanding_filters, *UPSAMPLING_FILTERS[config.scale])):
            # An up-sampling is part of the convolution after it, yet counts as a layer: weight files go by the numbers.
            upsamplings = max(0, number - len(config.expanding_filters))
            activation = nn.LeakyReLU(config.negative_slope)
            block = convolution_block(filters, wanted, activation, upsampling=upsamplings > 0)
            self.layers.add_module(str(number + upsamplings), block)
            filters = wanted
        self.last = PeriodicConv(filters, 3, bias=True, upsampling=True)
        self.start = Restore(config.residual, config.scale) if config.residual is not None else None
        if self.start is not None:
            # It begins as the interpolation that it is to improve.
            for parameter in self.last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, coarse_NCYX: Tensor) -> Tensor:
        """Fine spins (N, 3, scale Y, scale X) of coarse ones (N, 3, Y, X)."""
        # A compiler would have to trace the checks.
        if not torch.compiler.is_compiling():
            check_spins(coarse_NCYX, next(self.parameters()))
        fine_NCYX: Tensor = self.last(self.layers(coarse_NCYX))
        if self.start is not None:
            fine_NCYX = fine_NCYX + self.start(coarse_NCYX)
        return functional.normalize(fine_NCYX, dim=1) if self.config.normalized_output else fine_NCYX
