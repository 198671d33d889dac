"""A U-Net that estimates the effective field of spins, without connections at full resolution."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from torch import Tensor

from rayspin.models.field import FieldNet, FieldNetConfig, Filters
from rayspin.models.reach import reach
from rayspin.models.unet import UNet, unet_steps, unet_stride


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
        return unet_stride(self.patch, self.filters)

    @property
    def reach(self) -> int:
        """Largest distance along an axis over which spins affect the estimate, sites: 83 by default."""
        return reach(unet_steps(len(self.filters)), self.patch)

    def build(self) -> FieldUNet:
        """Build the network with initial weights drawn from torch's global generator."""
        return FieldUNet(self)


class FieldUNet(FieldNet):
    """A `UNet` that estimates the effective field of spins.

    The skip connections join at the strides `patch`, 2 `patch`, ..., that is 4 and 8 by default, and none at full
    resolution. A texture whose period is several times the patch passes these strides, so that fields are estimated
    far more accurately than through a bottleneck alone; noise of single sites doesn't, so that the recursive process
    still removes it.
    """

    def __init__(self, config: FieldUNetConfig) -> None:
        super().__init__(config)
        self.unet = UNet(3, config.patch, config.filters)

    def layers(self, spins_NCYX: Tensor) -> Tensor:
        """The maps of the last layer for spins (N, 3, Y, X), of the same shape."""
        maps_NCYX: Tensor = self.unet(spins_NCYX)
        return maps_NCYX
