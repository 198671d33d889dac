"""A U-Net on patches of sites, the layers of networks for fields and for fine spins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from rayspin.models.layers import PeriodicConv, PeriodicMaxPool, convolution_block
from rayspin.models.reach import Step


class UNet(nn.Module):
    """A U-Net on the periodic lattice, (N, inputs, Y, X) to (N, 3, Y, X), without connections at full resolution.

    Patches of `patch` x `patch` sites become channels (space to depth). An encoder of blocks (periodic 3x3 convolution,
    batch norm, ReLU) with 3x3 max-pooling of stride 2 between them is followed by a decoder that up-samples x2
    (nearest) in a block, concatenates the encoder's maps of the same size and applies further blocks. A last periodic
    convolution gives 3 `patch`^2 channels, which become sites again (depth to space).

    Args:
        inputs: number of input maps.
        patch: side of the patches, sites.
        filters: number of filters at each stride: `patch`, 2 `patch`, 4 `patch` and so on.
        depth: number of blocks at each stride of the encoder, and after each concatenation.
    """

    def __init__(self, inputs: int, patch: int, filters: Sequence[int], depth: int = 1) -> None:
        super().__init__()
        self.patch = patch
        self.encoder = nn.ModuleList()
        self.ups = nn.ModuleList()
        self.joins = nn.ModuleList()
        for given, wanted in pairwise((inputs * patch**2, *filters)):
            self.encoder.append(_blocks(given, wanted, depth))
        for given, wanted in pairwise(reversed(filters)):
            self.ups.append(convolution_block(given, wanted, nn.ReLU(), upsampling=True))
            self.joins.append(_blocks(2 * wanted, wanted, depth))
        self.last = PeriodicConv(filters[0], 3 * patch**2, bias=True)
        self.pool = PeriodicMaxPool()

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """The maps of the last layer, (N, 3, Y, X)."""
        patches_NCYX = pixel_unshuffle(maps_NCYX, self.patch).contiguous(memory_format=torch.channels_last)
        finest, *coarser = self.encoder
        encoded = [finest(patches_NCYX)]
        for block in coarser:
            encoded.append(block(self.pool(encoded[-1])))
        decoded_NCYX = encoded.pop()
        for up, join in zip(self.ups, self.joins):
            decoded_NCYX = join(torch.cat([up(decoded_NCYX), encoded.pop()], dim=1))
        return pixel_shuffle(self.last(decoded_NCYX), self.patch).contiguous(memory_format=torch.channels_last)


def unet_stride(patch: int, filters: Sequence[int]) -> int:
    """Total stride of a `UNet`; both sides of a lattice must be multiples of it."""
    return int(patch * 2 ** (len(filters) - 1))


def unet_steps(strides: int, depth: int = 1) -> list[Step]:
    """Return the steps of a `UNet` from patches to patches, for `reach`.

    Args:
        strides: number of strides.
        depth: as of the network.
    """
    blocks: list[Step] = ["convolution"] * depth
    down: list[Step] = [*blocks, "pooling"]
    up: list[Step] = ["upsampling", "convolution", *blocks]
    return [*down * (strides - 1), *blocks, *up * (strides - 1), "convolution"]


def _blocks(inputs: int, filters: int, depth: int) -> nn.Sequential:
    numbers = (inputs, *(filters for _ in range(depth)))
    return nn.Sequential(*(convolution_block(given, wanted, nn.ReLU()) for given, wanted in pairwise(numbers)))
