"""A U-Net on the fine lattice that corrects an estimate of fine spins."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor, nn

from rayspin.errors import InputError
from rayspin.models.field import Filters
from rayspin.models.fine import FineNet, FineNetConfig
from rayspin.models.layers import check_stride, unit
from rayspin.models.unet import UNet, unet_stride


class SuperResolutionUNetConfig(FineNetConfig):
    """The layers of a `SuperResolutionUNet`."""

    # In a job file the key is what distinguishes this architecture from the default one.
    model_config = ConfigDict(json_schema_extra={"required": ["architecture"]})

    architecture: Literal["u-net"] = "u-net"
    """The class of the network."""
    patch: Annotated[int, Field(ge=1, le=64)] = 4
    """Side of the square patches of fine sites that become the channels of one pixel."""
    filters: Filters = (32, 48, 64)
    """Number of filters at each stride: `patch`, 2 `patch`, 4 `patch` and so on."""
    depth: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of blocks at each stride of the encoder, and after each concatenation."""

    @model_validator(mode="after")
    def _has_a_start(self) -> Self:
        if self.start is None:
            raise InputError("start", "this architecture corrects one", 'set start = "fourier" or "wiener-em"')
        return self

    @property
    def stride(self) -> int:
        """Both sides of a fine lattice must be multiples of it: of the scale and of the strides of the layers."""
        return math.lcm(self.scale, unet_stride(self.patch, self.filters))

    def build(self) -> SuperResolutionUNet:
        """Build the network with initial weights drawn from torch's global generator."""
        return SuperResolutionUNet(self)

    def check_lattice(self, shape: int | tuple[int, int]) -> None:
        """Check that a fine lattice can be reconstructed at this scale, and fits the strides of the layers."""
        super().check_lattice(shape)
        check_stride(shape, unet_stride(self.patch, self.filters))


class SuperResolutionUNet(FineNet):
    """A `UNet` that estimates the error of its start from the start and its deviation from unit length.

    A start that agrees with the coarse spins deviates from unit length where it is wrong.
    """

    def __init__(self, config: SuperResolutionUNetConfig) -> None:
        super().__init__(config)
        self.unet = UNet(6, config.patch, config.filters, config.depth)
        # The untrained network then equals its start.
        for parameter in self.unet.last.parameters():
            nn.init.zeros_(parameter)

    def correction(self, coarse_NCYX: Tensor, start_NCYX: Tensor | None) -> Tensor:  # noqa: ARG002
        """The maps of the last layer, (N, 3, scale Y, scale X), in units of the error of the start."""
        assert self.start is not None
        assert start_NCYX is not None
        unit_NCYX = unit(start_NCYX)
        deviation_NCYX = (start_NCYX - unit_NCYX) / self.start.deviation
        error_NCYX: Tensor = self.unet(torch.cat([unit_NCYX, deviation_NCYX], dim=1))
        return error_NCYX
