"""Reconstruction by a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rayspin.arrays import channel_last
from rayspin.errors import InputError, shown
from rayspin.reconstruction.problem import Maps, Problem, component_maps

NETWORK = "network"
"""Name of the method that applies a network."""


class FineNetwork(Protocol):
    """A network that reconstructs fine spins, such as `rayspin.models.pretrained("labyrinth-x8")`."""

    @property
    def config(self) -> Any:
        """The config of the network, with its `scale`."""

    def reconstruct(self, coarse_NYXC: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return fine spins (N, scale Y, scale X, 3) for coarse ones (N, Y, X, 3)."""


@dataclass(frozen=True)
class Network:
    """A trained network as a method.

    Attributes:
        network: the network; any object with `config.scale` and a method `reconstruct`.
    """

    network: FineNetwork

    def solve(self, problem: Problem) -> Maps:
        """Return the output of the network; see `Method`."""
        scale = getattr(getattr(self.network, "config", None), "scale", None)
        if scale is None or not callable(getattr(self.network, "reconstruct", None)):
            remedy = 'give one such as rayspin.models.pretrained("labyrinth-x8")'
            raise InputError("network", f"{shown(self.network)} reconstructs no fine spins", remedy)
        if scale != problem.operator.scale:
            problem_of_scale = f"it has scale {scale}, and the coarse spins have {problem.operator.scale}"
            raise InputError("network", problem_of_scale, f"give a network of scale {problem.operator.scale}")
        problem.require_all_components("a network")
        if problem.coarse_NCKYX.shape[2] != 1:
            raise InputError("shifts", "a network takes one observation of each field", "use another method")
        fine_NYXC = self.network.reconstruct(channel_last(problem.coarse_NCKYX[:, :, 0]))
        return component_maps(fine_NYXC)
