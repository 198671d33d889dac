"""Degradations as PyTorch modules: the degradation itself, for losses, and its Fourier inverse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rayspin.errors import InputError
from rayspin.physics.arguments import whole
from rayspin.physics.degradation import Degradation


class AxisProduct(nn.Module):
    """A linear map of the lattice with one matrix per axis, maps (N, C, Y, X) to A_Y maps A_X^T; no parameters.

    Args:
        matrix: a function that returns the matrix for an axis with a given number of sites or pixels.
    """

    def __init__(self, matrix: Callable[[int], npt.NDArray[np.float64]]) -> None:
        super().__init__()
        self._matrix = matrix
        self._placed: dict[tuple[int, torch.device, torch.dtype], Tensor] = {}

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """Apply the map to both axes.

        Args:
            maps_NCYX: (..., Y, X) tensor of real numbers.

        Raises:
            InputError: the input is not such a tensor, or an axis doesn't fit the map.
        """
        if not isinstance(maps_NCYX, Tensor) or maps_NCYX.ndim < 2 or not maps_NCYX.is_floating_point():
            raise InputError("spins", "are not a tensor (..., Y, X) of real numbers", "give a torch.float32 tensor")
        rows, columns = maps_NCYX.shape[-2:]
        return self._on(rows, maps_NCYX) @ maps_NCYX @ self._on(columns, maps_NCYX).T

    def _on(self, sites: int, like: Tensor) -> Tensor:
        key = (sites, like.device, like.dtype)
        if key not in self._placed:
            self._placed[key] = torch.tensor(self._matrix(sites), device=like.device, dtype=like.dtype)
        return self._placed[key]


class Degrade(AxisProduct):
    """A differentiable degradation, (N, C, Y, X) to (N, C, Y / scale, X / scale).

    Attributes:
        config: the degradation.
        scale: fine sites per coarse pixel along each axis.
    """

    def __init__(self, config: Degradation, scale: int) -> None:
        super().__init__(lambda sites: config.matrix(sites, scale))
        self.config = config
        self.scale = whole("scale", scale, 1)

    def adjoint(self, coarse_NCYX: Tensor) -> Tensor:
        """The adjoint map, (..., Y, X) to (..., scale Y, scale X)."""
        rows, columns = (self.scale * pixels for pixels in coarse_NCYX.shape[-2:])
        return self._on(rows, coarse_NCYX).T @ coarse_NCYX @ self._on(columns, coarse_NCYX)


class Restore(AxisProduct):
    """The differentiable Fourier inverse of a degradation, (N, C, Y, X) to (N, C, scale Y, scale X)."""

    def __init__(self, config: Degradation, scale: int) -> None:
        super().__init__(lambda pixels: config.inverse(scale * pixels, scale))
