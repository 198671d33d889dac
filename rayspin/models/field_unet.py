"""A U-Net that estimates the effective field of spins, without connections at full resolution."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from rayspin.models.field import FieldNet, FieldNetConfig, Filters
from rayspin.models.layers import PeriodicConv, PeriodicMaxPool, convolution_block


class FieldUNetConfig(FieldNetConfig):
    """The layers of a `FieldUNet`."""

    # In a job file the key is what distinguishes this architecture from the default one.
    model_config = ConfigDict(json_schema_extra={"required": ["architecture"]})

    architecture: Literal["u-net"] = "u-net"
    """The class of the network."""
    patch: Annotated[int, Field(ge=1, le=64)] = 4
    """Side of the square patches of sites that become the channels of one pixel; also the finest stride of the
    network."""
    filters: Filters = (32, 48, 64)
    """Number of filters at each stride: `patch`, 2 `patch`, 4 `patch` and so on."""

    @property
    def stride(self) -> int:
        """Total stride, 16 by default; both sides of a lattice must be multiples of it."""
        return int(self.patch * 2 ** (len(self.filters) - 1))

    def build(self) -> FieldUNet:
        """Build the network with initial weights drawn from torch's global generator."""
        return FieldUNet(self)


class FieldUNet(FieldNet):
    """A U-Net on patches of sites that estimates the effective field of spins.

    Patches of `patch` x `patch` sites become channels (space to depth). An encoder of blocks (periodic 3x3 convolution,
    batch norm, ReLU) with 3x3 max-pooling of stride 2 between them is followed by a decoder that up-samples x2
    (nearest) in a block, concatenates the encoder's maps of the same size and applies another block. A last periodic
    convolution gives 3 `patch`^2 channels, which become sites again (depth to space).

    The skip connections join at the strides `patch`, 2 `patch`, ..., that is 4 and 8 by default, and none at full
    resolution. A texture whose period is several times the patch passes these strides, so that fields are estimated
    far more accurately than through a bottleneck alone; noise of single sites doesn't, so that the recursive process
    still removes it.
    """

    def __init__(self, config: FieldUNetConfig) -> None:
        super().__init__(config)
        self.patch = config.patch
        self.encoder = nn.ModuleList()
        self.ups = nn.ModuleList()
        self.joins = nn.ModuleList()
        channels = 3 * config.patch**2
        for inputs, filters in pairwise((channels, *config.filters)):
            self.encoder.append(convolution_block(inputs, filters, nn.ReLU()))
        for inputs, filters in pairwise(reversed(config.filters)):
            self.ups.append(convolution_block(inputs, filters, nn.ReLU(), upsampling=True))
            self.joins.append(convolution_block(2 * filters, filters, nn.ReLU()))
        self.last = PeriodicConv(config.filters[0], channels, bias=True)
        self.pool = PeriodicMaxPool()

    def layers(self, spins_NCYX: Tensor) -> Tensor:
        """The maps of the last layer for spins (N, 3, Y, X), of the same shape."""
        patches_NCYX = pixel_unshuffle(spins_NCYX, self.patch).contiguous(memory_format=torch.channels_last)
        finest, *coarser = self.encoder
        encoded = [finest(patches_NCYX)]
        for block in coarser:
            encoded.append(block(self.pool(encoded[-1])))
        maps_NCYX = encoded.pop()
        for up, join in zip(self.ups, self.joins):
            maps_NCYX = join(torch.cat([up(maps_NCYX), encoded.pop()], dim=1))
        return pixel_shuffle(self.last(maps_NCYX), self.patch).contiguous(memory_format=torch.channels_last)
