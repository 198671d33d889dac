"""The network of D. B. Lee et al., Sci. Rep. 11 (2021), which estimates the effective field of spins."""

from __future__ import annotations

from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.models.layers import PeriodicConv, PeriodicMaxPool, check_spins, convolution_block
from rayspin.physics.arguments import lattice

Filters = Annotated[tuple[Annotated[int, Field(ge=1, le=2**14)], ...], Field(min_length=1, max_length=64)]
"""Numbers of filters of consecutive blocks. The generous bounds keep a damaged file from exhausting the memory."""


class EffectiveFieldNetConfig(Config):
    """The layers of an `EffectiveFieldNet`; the defaults are the published network."""

    encoder_filters: Filters = (8, 16, 32, 64)
    """Number of filters of each encoder block; each block halves the lattice."""
    decoder_filters: Filters = (32, 16, 8, 3)
    """Number of filters of each decoder block; each block doubles the lattice. There must be one for each encoder
    block."""
    skip_connections: bool = False
    """Also feed each decoder block the encoder maps of the same size. This variant has no bottleneck, which the
    recursive process depends on."""

    @model_validator(mode="after")
    def _lattice_returns(self) -> Self:
        if len(self.encoder_filters) != len(self.decoder_filters):
            raise InputError(
                "decoder_filters",
                f"{len(self.decoder_filters)} decoder blocks for {len(self.encoder_filters)} encoder blocks",
                "give both the same number of blocks",
            )
        return self

    @property
    def stride(self) -> int:
        """Total stride of the encoder, 16 as published; both sides of a lattice must be multiples of it."""
        return int(2 ** len(self.encoder_filters))

    def check_lattice(self, shape: int | tuple[int, int]) -> None:
        """Check that a lattice fits the network.

        Args:
            shape: rows and columns, or one number for both.

        Raises:
            InputError: a side is not a multiple of `stride`.
        """
        rows, columns = lattice(shape, "open")
        if rows % self.stride or columns % self.stride:
            raise InputError(
                "size",
                f"the network can't halve {rows} x {columns} sites {len(self.encoder_filters)} times",
                f"use sides that are multiples of {self.stride}",
            )

    def build(self) -> EffectiveFieldNet:
        """Build the network with initial weights drawn from torch's global generator."""
        return EffectiveFieldNet(self)


class EffectiveFieldNet(nn.Module):
    """An encoder-decoder network that estimates the effective field F* of spins, in units of J.

    Each encoder block consists of periodic padding, a 3x3 convolution, batch norm, ReLU and max-pooling. Each decoder
    block consists of up-sampling x2 (nearest, the published "2x2 filter"), periodic padding, a 3x3 convolution, batch
    norm and ReLU. The last layer is a convolution to three components without batch norm and ReLU. The paper gives a
    pooling window of 3x3 and no stride; only stride 2 restores a side of 128 after four up-samplings by 2.

    The network has no access to the Hamiltonian. The exact map from spins to field is linear and couples only nearest
    neighbours; because of its bottleneck the network reproduces only typical textures, which the recursive process
    depends on.

    Attributes:
        config: the layers of the network.
    """

    def __init__(self, config: EffectiveFieldNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        filters = 3
        for wanted in config.encoder_filters:
            self.encoder.append(convolution_block(filters, wanted, nn.ReLU()))
            filters = wanted
        for wanted, beside in zip(config.decoder_filters, reversed(config.encoder_filters)):
            inputs = filters + beside if config.skip_connections else filters
            # With skip connections, `forward` up-samples the maps before it concatenates the encoder's.
            upsampling = not config.skip_connections
            self.decoder.append(convolution_block(inputs, wanted, nn.ReLU(), upsampling=upsampling))
            filters = wanted
        self.last = PeriodicConv(filters, 3, bias=True)
        self.pool = PeriodicMaxPool()

    def forward(self, spins_NCYX: Tensor) -> Tensor:
        """Estimate the effective field of spins.

        Args:
            spins_NCYX: (N, 3, Y, X) spins of any length.

        Returns:
            the field, J, (N, 3, Y, X).

        Raises:
            InputError: the spins have another shape, type or device than the network takes.
        """
        # torch.compile would have to trace the checks.
        if not torch.compiler.is_compiling():
            check_spins(spins_NCYX, next(self.parameters()))
            self.config.check_lattice((spins_NCYX.shape[-2], spins_NCYX.shape[-1]))
        maps_NCYX = spins_NCYX
        encoded: list[Tensor] = []
        for block in self.encoder:
            encoded.append(block(maps_NCYX))
            maps_NCYX = self.pool(encoded[-1])
        for block in self.decoder:
            if self.config.skip_connections:
                maps_NCYX = torch.cat([functional.interpolate(maps_NCYX, scale_factor=2), encoded.pop()], dim=1)
            maps_NCYX = block(maps_NCYX)
        field_NCYX: Tensor = self.last(maps_NCYX)
        return field_NCYX
