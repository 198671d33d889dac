"""The network of D. B. Lee et al., Sci. Rep. 13 (2023), which reconstructs fine spins from coarse ones."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from rayspin.models.field import Filters
from rayspin.models.fine import FineNet, FineNetConfig
from rayspin.models.layers import PeriodicConv, convolution_block

UPSAMPLING_FILTERS: dict[int, tuple[int, ...]] = {4: (16, 8), 8: (32, 16, 8), 16: (48, 32, 16, 8)}
"""Published numbers of filters of the up-sampling blocks, by scale (x2^2, x2^3 and x2^4 in the paper)."""


class SuperResolutionNetConfig(FineNetConfig):
    """The layers of a `SuperResolutionNet`; the defaults are the published network."""

    architecture: Literal["expanding"] = "expanding"
    """The class of the network; a table without this key is of this one."""
    expanding_filters: Filters = (64, 64, 64, 64)
    """Number of filters of each block on the coarse lattice."""
    negative_slope: float = 0.3
    """Slope of the leaky ReLU below zero. The paper doesn't give it; 0.3 is the default of Keras."""

    def build(self) -> SuperResolutionNet:
        """Build the network with initial weights drawn from torch's global generator."""
        return SuperResolutionNet(self)


class SuperResolutionNet(FineNet):
    """A network that generates fine spins consistent with a coarse image.

    Each expanding block consists of periodic padding, a 3x3 convolution, batch norm and leaky ReLU on the coarse
    lattice. Each up-sampling block consists of the same layers followed by up-sampling x2 (nearest). The last layer is
    a periodic convolution to three components.
    """

    def __init__(self, config: SuperResolutionNetConfig) -> None:
        super().__init__(config)
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
        if self.start is not None:
            # The untrained network then equals its start.
            for parameter in self.last.parameters():
                nn.init.zeros_(parameter)

    def correction(self, coarse_NCYX: Tensor, start_NCYX: Tensor | None) -> Tensor:  # noqa: ARG002
        """The maps of the last layer, (N, 3, scale Y, scale X), from the coarse spins alone."""
        fine_NCYX: Tensor = self.last(self.layers(coarse_NCYX))
        return fine_NCYX
