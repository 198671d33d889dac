"""The Hamiltonian as data, and the two of the papers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.config import Config, suggestion
from rayspin.errors import InputError
from rayspin.physics.arguments import STRONGEST, Boundary

Vector = tuple[float, float, float]


class Hamiltonian(Config):
    """Energy of a square lattice of unit spins, in lattice units: J = k_B = lattice constant = moment = 1.

    Every pair is counted once; r_ij points from i to j; x runs along columns, y along rows, both with the index:

        H = - exchange   sum_<ij> S_i . S_j            > 0: ferromagnetic, nearest neighbours
            +            sum_<ij> D_ij . (S_i x S_j)   nearest neighbours
            + dipole     sum_i<j  [S_i . S_j - 3 (S_i . r)(S_j . r)] / r_ij^3
                                                       r = r_ij / |r_ij|, with periodic images
            - anisotropy sum_i    (S_i . axis)^2       > 0: easy axis; < 0: easy plane
            -            sum_i    external_field . S_i

    with D_ij = dmi z x r_ij where `dmi_kind` is "interfacial" (along +x and dmi > 0 the spins of the spiral
    turn from +z towards -x: a cycloid), and D_ij = dmi r_ij where it is "bulk" (along +x and dmi > 0 from +z
    towards +y: a helix).

    A job file writes a table of these fields, or the name of a preset: "labyrinth" or "domain".
    """

    exchange: float = 1.0
    dmi: float = 0.0
    dmi_kind: Literal["interfacial", "bulk"] = "interfacial"
    dipole: float = pydantic.Field(0.0, ge=0)
    anisotropy: float = 0.0
    anisotropy_axis: Vector = (0.0, 0.0, 1.0)
    """Direction of the anisotropy, of any length from 1e-6 to 1e6."""
    external_field: Vector = (0.0, 0.0, 0.0)
    boundary: Boundary = "periodic"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        if data not in PRESETS:
            raise InputError("preset", f"unknown name {data!r}", suggestion(data, PRESETS))
        return dict(PRESETS[data])

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        strengths = {
            "exchange": abs(self.exchange),
            "dmi": abs(self.dmi),
            "dipole": self.dipole,
            "anisotropy": abs(self.anisotropy),
            "external_field": max(map(abs, self.external_field)),
        }
        for name, strength in strengths.items():
            if strength > STRONGEST:
                raise InputError(name, f"{strength:g} is out of range", f"give at most {STRONGEST:g}, in units of J")
        if not 1e-6 <= math.hypot(*self.anisotropy_axis) <= 1e6:
            raise InputError("anisotropy_axis", f"{self.anisotropy_axis} is no direction", "give a vector of length 1")
        if self.dipole and self.boundary == "open":
            raise InputError("boundary", "the dipole term is summed over periodic images", 'write "periodic"')
        return self

    @property
    def largest_coupling(self) -> float:
        """The strength of the strongest term, J: the scale of fields and torques; of the external field its length."""
        field = math.hypot(*self.external_field)
        return max(abs(self.exchange), abs(self.dmi), self.dipole, abs(self.anisotropy), field)

    @property
    def unit_axis(self) -> npt.NDArray[np.float64]:
        """The anisotropy axis, of unit length, (3,)."""
        axis: npt.NDArray[np.float64] = np.array(self.anisotropy_axis) / math.hypot(*self.anisotropy_axis)
        return axis


LABYRINTH = Hamiltonian(dmi=0.3)
"""Type I of the papers: exchange and interfacial DMI; anneals to labyrinths of period 21.6 sites."""

DOMAIN = Hamiltonian(dipole=0.03, anisotropy=0.215)
"""Type II of the papers: exchange, dipole and anisotropy; anneals to up and down domains with thin walls."""

PRESETS = {"labyrinth": LABYRINTH, "domain": DOMAIN}

HamiltonianLike: TypeAlias = Hamiltonian | str | Mapping[str, Any]
"""A Hamiltonian, or what a job file has in its place: the name of a preset, or a table of fields."""
