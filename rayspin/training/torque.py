"""The torque of spins under a Hamiltonian, some of whose strengths may be learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from rayspin.errors import InputError
from rayspin.models import ExactField
from rayspin.physics import Hamiltonian


def _not_zero(strengths: dict[Term, float]) -> dict[Term, float]:
    for name, strength in strengths.items():
        if strength == 0 or not math.isfinite(strength):
            raise InputError(name, f"{strength} is zero or not finite", "give an initial strength such as 0.1")
    return strengths


Term = Literal["exchange", "dmi", "dipole", "anisotropy"]
"""Terms of a Hamiltonian whose strengths can be learned."""

Strengths = Annotated[dict[Term, float], AfterValidator(_not_zero)]
"""Initial strengths of terms of a Hamiltonian, J."""


class Torque(nn.Module):
    """The torque S x F of spins, (N, 3, Y, X), J.

    Args:
        hamiltonian: the Hamiltonian.
        shape: rows and columns of the lattice.
        strengths: initial strengths of the terms whose logarithms are parameters, J.

    Attributes:
        logarithms: the logarithms of the magnitudes of the learned strengths, or None.
    """

    def __init__(self, hamiltonian: Hamiltonian, shape: tuple[int, int], strengths: Mapping[Term, float]) -> None:
        super().__init__()
        self.names = tuple(strengths)
        self.rest = ExactField(hamiltonian.with_updates(**dict.fromkeys(self.names, 0.0)), shape)
        alone = hamiltonian.with_updates(exchange=0.0, dmi=0.0, dipole=0.0, anisotropy=0.0, external_field=(0, 0, 0))
        self.units = nn.ModuleList(ExactField(alone.with_updates(**{name: 1.0}), shape) for name in strengths)
        self.signs = [math.copysign(1.0, strength) for strength in strengths.values()]
        self.logarithms: nn.Parameter | None = None
        if strengths:
            self.logarithms = nn.Parameter(torch.tensor([math.log(abs(strength)) for strength in strengths.values()]))

    def strengths(self) -> dict[str, Tensor]:
        """The learned strengths by name, J."""
        if self.logarithms is None:
            return {}
        return {name: sign * value.exp() for name, sign, value in zip(self.names, self.signs, self.logarithms)}

    def forward(self, spins_NCYX: Tensor) -> Tensor:
        """The torques of spins (N, 3, Y, X), of the same shape."""
        field_NCYX = self.rest(spins_NCYX)
        for strength, unit in zip(self.strengths().values(), self.units):
            field_NCYX = field_NCYX + strength * unit(spins_NCYX)
        torque_NCYX: Tensor = torch.linalg.cross(spins_NCYX, field_NCYX, dim=1)
        return torque_NCYX
