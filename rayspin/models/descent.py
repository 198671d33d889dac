"""Steps of preconditioned gradient descent on energy and misfit, as layers after a network."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from rayspin.config import Config
from rayspin.models.degradation import Degrade
from rayspin.models.exact_field import ExactField
from rayspin.models.layers import unit
from rayspin.physics import Degradation, Hamiltonian
from rayspin.reconstruction.preconditioner import FLOOR

# Longest move of a spin in one step, before it is normalized.
_LONGEST_MOVE = 0.7


class DescentConfig(Config):
    """Steps that lower E(S) + weight / 2 |D S - c|^2 over unit spins S, for the energy E in J and coarse spins c.

    They use the Hamiltonian, as `rayspin.reconstruction.MAP` does, which takes better steps, and as many as needed.
    """

    hamiltonian: Hamiltonian
    """The Hamiltonian of the fine spins."""
    steps: Annotated[int, Field(ge=1, le=100)] = 5
    """Number of steps."""
    weight: Annotated[float, Field(gt=0)] = 100.0
    """Strength of the coarse data, in units of the largest coupling."""
    rate: Annotated[float, Field(gt=0)] = 0.7
    """Length of a step, in units of the Newton step of the preconditioner."""


class Descent(nn.Module):
    """Steps of Riemannian gradient descent, S <- normalize(S - rate A^-1 g) with the tangential gradient g.

    A = K + weight D^T D, where K multiplies a wave by coupling (k^2 + 0.2); its inverse is exact, see
    `rayspin.reconstruction.preconditioner.Preconditioner`.

    Args:
        config: the steps.
        degradation: the degradation D.
        scale: fine sites per coarse pixel along each axis.
    """

    def __init__(self, config: DescentConfig, degradation: Degradation, scale: int) -> None:
        super().__init__()
        self.config = config
        self.degrade = Degrade(degradation, scale)
        self._placed: dict[tuple[torch.Size, torch.device, torch.dtype], tuple[ExactField, Tensor, Tensor]] = {}

    def forward(self, fine_NCYX: Tensor, coarse_NCYX: Tensor) -> Tensor:
        """Unit spins after the steps.

        Args:
            fine_NCYX: (N, 3, scale Y, scale X) unit spins to start from.
            coarse_NCYX: (N, 3, Y, X) coarse spins c.
        """
        exact, compliance, coarse_inverse = self._on(fine_NCYX)
        weight = self.config.weight * self.config.hamiltonian.largest_coupling
        for _ in range(self.config.steps):
            misfit_NCYX = self.degrade(fine_NCYX) - coarse_NCYX
            gradient_NCYX = weight * self.degrade.adjoint(misfit_NCYX) - exact(fine_NCYX)
            free_NCYX = _filtered(_tangent(gradient_NCYX, fine_NCYX), compliance)
            bound_NCYX = self.degrade.adjoint(_filtered(self.degrade(free_NCYX), coarse_inverse))
            move_NCYX = _tangent(free_NCYX - _filtered(bound_NCYX, compliance), fine_NCYX)
            length = move_NCYX.square().sum(dim=1, keepdim=True).amax(dim=(2, 3), keepdim=True).clamp(min=1e-12).sqrt()
            rate = (_LONGEST_MOVE / length).clamp(max=self.config.rate)
            fine_NCYX = unit(fine_NCYX - rate * move_NCYX)
        return fine_NCYX

    def _on(self, like: Tensor) -> tuple[ExactField, Tensor, Tensor]:
        """The exact field, the inverse of K for each wave, and the factors of coarse waves in the inverse of A."""
        key = (like.shape[-2:], like.device, like.dtype)
        if key not in self._placed:
            rows, columns = like.shape[-2:]
            coupling = self.config.hamiltonian.largest_coupling
            ky, kx = 2 * np.pi * np.fft.fftfreq(rows)[:, None], 2 * np.pi * np.fft.rfftfreq(columns)
            stiffness = coupling * (4 - 2 * np.cos(ky) - 2 * np.cos(kx) + FLOOR)
            compliance = torch.from_numpy(1 / stiffness)
            pulse = torch.zeros((rows // self.degrade.scale, columns // self.degrade.scale), dtype=torch.float64)
            pulse[0, 0] = 1
            spread = self.degrade(_filtered(self.degrade.adjoint(pulse), compliance))
            coarse_inverse = 1 / (1 / (self.config.weight * coupling) + torch.fft.rfft2(spread).real)
            exact = ExactField(self.config.hamiltonian, (rows, columns))
            self._placed[key] = exact.to(like.device), compliance.to(like), coarse_inverse.to(like)
        return self._placed[key]


def _filtered(maps_NCYX: Tensor, factors: Tensor) -> Tensor:
    """Multiply the waves of maps (..., Y, X) by factors in the order of `torch.fft.rfft2`."""
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(maps_NCYX) * factors, s=maps_NCYX.shape[-2:])
    return filtered


def _tangent(vectors_NCYX: Tensor, spins_NCYX: Tensor) -> Tensor:
    """The part of vectors perpendicular to unit spins."""
    along_NCYX = (vectors_NCYX * spins_NCYX).sum(dim=1, keepdim=True)
    return torch.sub(vectors_NCYX, along_NCYX * spins_NCYX)
