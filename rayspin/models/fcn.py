"""The network of D. B. Lee et al., Sci. Rep. 11 (2021), which estimates the effective field of spins."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator
from torch import Tensor, nn

from rayspin.errors import InputError
from rayspin.models.field import FieldNet, FieldNetConfig, Filters
from rayspin.models.layers import PeriodicConv, PeriodicMaxPool, convolution_block
from rayspin.models.reach import Step, reach


class EffectiveFieldNetConfig(FieldNetConfig):
    """The layers of an `EffectiveFieldNet`; the defaults are the published network."""

    architecture: Literal["encoder-decoder"] = "encoder-decoder"
    """The class of the network; a table without this key is of this one."""
    encoder_filters: Filters = (8, 16, 32, 64)
    """Number of filters of each encoder block; each block halves the lattice."""
    decoder_filters: Filters = (32, 16, 8, 3)
    """Number of filters of each decoder block; each block doubles the lattice. There must be one for each encoder
    block."""

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

    @property
    def reach(self) -> int:
        """Largest distance along an axis over which spins affect the estimate, sites: 61 as published."""
        down: list[Step] = ["convolution", "pooling"]
        up: list[Step] = ["upsampling", "convolution"]
        blocks = len(self.encoder_filters)
        return reach([*down * blocks, *up * blocks, "convolution"])

    def build(self) -> EffectiveFieldNet:
        """Build the network with initial weights drawn from torch's global generator."""
        return EffectiveFieldNet(self)


class EffectiveFieldNet(FieldNet):
    """An encoder-decoder network that estimates the effective field of spins.

    Each encoder block consists of periodic padding, a 3x3 convolution, batch norm, ReLU and max-pooling. Each decoder
    block consists of up-sampling x2 (nearest, the published "2x2 filter"), periodic padding, a 3x3 convolution, batch
    norm and ReLU. The last layer is a convolution to three components without batch norm and ReLU. The paper gives a
    pooling window of 3x3 and no stride; only stride 2 restores a side of 128 after four up-samplings by 2.

    The network has no access to the Hamiltonian. The exact map from spins to field is linear and couples only nearest
    neighbors; because of its bottleneck the network reproduces only typical textures, which the recursive process
    depends on.
    """

    def __init__(self, config: EffectiveFieldNetConfig) -> None:
        super().__init__(config)
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        filters = 3
        for wanted in config.encoder_filters:
            self.encoder.append(convolution_block(filters, wanted, nn.ReLU()))
            filters = wanted
        for wanted in config.decoder_filters:
            self.decoder.append(convolution_block(filters, wanted, nn.ReLU(), upsampling=True))
            filters = wanted
        self.last = PeriodicConv(filters, 3, bias=True)
        self.pool = PeriodicMaxPool()

    def layers(self, spins_NCYX: Tensor) -> Tensor:
        """The maps of the last layer for spins (N, 3, Y, X), of the same shape."""
        maps_NCYX = spins_NCYX
        for block in self.encoder:
            maps_NCYX = self.pool(block(maps_NCYX))
        for block in self.decoder:
            maps_NCYX = block(maps_NCYX)
        field_NCYX: Tensor = self.last(maps_NCYX)
        return field_NCYX
