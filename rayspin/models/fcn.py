"""The effective-field network of D. B. Lee et al., Sci. Rep. 11 (2021): spins in, effective field out."""

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
"""Filters of blocks in a row. The bounds are beyond any use: they keep a spoilt file from filling the memory."""


class EffectiveFieldNetConfig(Config):
    """The layers of an `EffectiveFieldNet`; the published network is the default."""

    encoder_filters: Filters = (8, 16, 32, 64)
    """Filters of the encoder's blocks; each block halves the lattice."""
    decoder_filters: Filters = (32, 16, 8, 3)
    """Filters of the decoder's blocks, as many as the encoder has; each doubles the lattice."""
    skip_connections: bool = False
    """Give each decoder block the maps of the encoder at its size too (a variant: the bottleneck is gone, and with it
    what the recursive process lives on)."""

    @model_validator(mode="after")
    def _lattice_returns(self) -> Self:
        if len(self.encoder_filters) != len(self.decoder_filters):
            raise InputError(
                "decoder_filters",
                f"{len(self.decoder_filters)} blocks after {len(self.encoder_filters)} of the encoder",
                "give both the same number",
            )
        return self

    @property
    def stride(self) -> int:
        """Total stride of the encoder, 16 as published: both sides of a lattice are multiples of it."""
        return int(2 ** len(self.encoder_filters))

    def check_lattice(self, shape: int | tuple[int, int]) -> None:
        """Raise InputError unless a lattice of (rows, columns) fits the network."""
        rows, columns = lattice(shape, "open")
        if rows % self.stride or columns % self.stride:
            raise InputError(
                "size",
                f"the network can't halve {rows} x {columns} sites {len(self.encoder_filters)} times",
                f"use sides that are multiples of {self.stride}",
            )

    def build(self) -> EffectiveFieldNet:
        """The network with fresh weights from torch's global generator."""
        return EffectiveFieldNet(self)


class EffectiveFieldNet(nn.Module):
    """An encoder and decoder that estimate the effective field F* (units of J) of spins.

    Encoder blocks: periodic padding, convolution 3x3, batch norm, ReLU, max-pooling. Decoder blocks:
    up-sampling x2 (nearest, as the published "2x2 filter"), periodic padding, convolution 3x3, batch norm,
    ReLU. At the end a convolution to three components with neither. The paper prints a pooling window of
    3x3 and no stride; shapes that return to 128 through four up-samplings by 2 leave only stride 2.

    The network knows no Hamiltonian. The exact map is linear and reaches nearest neighbours only; what the
    bottleneck adds is that only typical textures pass, and the recursive process lives of that.
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
            # What is put beside the up-sampled maps has their size already.
            upsampling = not config.skip_connections
            self.decoder.append(convolution_block(inputs, wanted, nn.ReLU(), upsampling=upsampling))
            filters = wanted
        self.last = PeriodicConv(filters, 3, bias=True)
        self.pool = PeriodicMaxPool()

    def forward(self, spins_NCYX: Tensor) -> Tensor:
        """The estimated field, (N, 3, Y, X), of spins of that shape, normalized or not."""
        # A compiler would have to trace the checks.
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
