"""The Hamiltonian as a configuration, with the presets of both papers."""

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

    Every pair is counted once; r_ij points from i to j; x increases with the column index, y with the row index:

        H = - exchange   sum_<ij> S_i . S_j
            +            sum_<ij> D_ij . (S_i x S_j)
            + dipole     sum_i<j  [S_i . S_j - 3 (S_i . r)(S_j . r)] / r_ij^3
            - anisotropy sum_i    (S_i . axis)^2
            -            sum_i    external_field . S_i

    <ij> are nearest neighbors, and r = r_ij / |r_ij|. The dipole interaction includes all periodic images.

    If `dmi_kind` is "interfacial", D_ij = dmi z x r_ij: for dmi > 0, the spins of a spiral along +x turn from +z
    towards -x (a cycloid). If it is "bulk", D_ij = dmi r_ij: for dmi > 0, they turn from +z towards +y (a helix).

    A job file contains a table of these fields, or the name of a preset: "labyrinth" or "domain".
    """

    exchange: float = 1.0
    """Strength of the exchange, J; > 0: ferromagnetic."""
    dmi: float = 0.0
    """Strength of the Dzyaloshinskii-Moriya interaction (DMI), J."""
    dmi_kind: Literal["interfacial", "bulk"] = "interfacial"
    """Direction of the DMI vectors: "interfacial" or "bulk"."""
    dipole: float = pydantic.Field(0.0, ge=0)
    """Strength of the dipole interaction, J; requires a periodic boundary."""
    anisotropy: float = 0.0
    """Strength of the uniaxial anisotropy, J; > 0: easy axis; < 0: easy plane."""
    anisotropy_axis: Vector = (0.0, 0.0, 1.0)
    """Axis of the anisotropy, a vector of any length from 1e-6 to 1e6."""
    external_field: Vector = (0.0, 0.0, 0.0)
    """External field (x, y, z), J."""
    boundary: Boundary = "periodic"
    """Boundary of the lattice: "periodic" or "open"."""

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
            raise InputError("anisotropy_axis", f"{self.anisotropy_axis} is not a direction", "give a unit vector")
        if self.dipole and self.boundary == "open":
            raise InputError("boundary", "the dipole term is summed over periodic images", 'write "periodic"')
        return self

    @property
    def largest_coupling(self) -> float:
        """Strength of the strongest term, J, the scale of fields and torques. The external field counts by length."""
        field = math.hypot(*self.external_field)
        return max(abs(self.exchange), abs(self.dmi), self.dipole, abs(self.anisotropy), field)

    @property
    def isotropic(self) -> float:
        """Coefficient c of c S, the field of the exchange in a uniform state S, J. It is 4 * exchange (four neighbors).

        Only the exchange has the same coefficient for every direction of S. The fields of the other terms depend on the
        direction.
        """
        return 4 * self.exchange

    @property
    def spiral_period(self) -> float | None:
        """Period of the spiral that the DMI winds along a side of the lattice, sites.

        It is 2 pi / arctan(|dmi| / exchange), and also the mean period of labyrinths. None if further terms compete,
        which lengthen it, or without DMI.
        """
        if self.dmi == 0 or self.exchange <= 0 or self.dipole or self.anisotropy or any(self.external_field):
            return None
        return 2 * math.pi / math.atan(abs(self.dmi) / self.exchange)

    @property
    def unit_axis(self) -> npt.NDArray[np.float64]:
        """The normalized anisotropy axis, (3,)."""
        axis: npt.NDArray[np.float64] = np.array(self.anisotropy_axis) / math.hypot(*self.anisotropy_axis)
        return axis


LABYRINTH = Hamiltonian(dmi=0.3)
"""Type I of the papers: exchange and interfacial DMI; annealing yields labyrinths with a period of 21.6 sites."""

DOMAIN = Hamiltonian(dipole=0.03, anisotropy=0.215)
"""Type II of the papers: exchange, dipole and anisotropy; annealing yields up and down domains with thin walls."""

PRESETS = {"labyrinth": LABYRINTH, "domain": DOMAIN}
"""The presets by their names in job files."""

HamiltonianLike: TypeAlias = Hamiltonian | str | Mapping[str, Any]
"""A Hamiltonian, or its form in a job file: the name of a preset, or a table of fields."""
