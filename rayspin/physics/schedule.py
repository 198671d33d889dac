"""How a sample is cooled, as data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.config import Config, suggestion
from rayspin.errors import InputError
from rayspin.physics.arguments import COLDEST, FARTHEST, HOTTEST, MOST_REFLECTIONS, MOST_SWEEPS, STRONGEST
from rayspin.physics.hamiltonian import Hamiltonian, Vector

LEAST_TORQUE_TOLERANCE = 1e-5
"""The smallest torque tolerance that a quench can keep. Spins and fields are float32: torques of up to 9e-6 of the
largest coupling remain after any number of sweeps (128 x 128 sites, five terms of strength 1; exchange alone: 3e-6)."""


class AnnealSchedule(Config):
    """A ramp of Monte Carlo sweeps from random spins, then a quench. Temperatures in J/k_B.

    There is no converged labyrinth (it coarsens for ever towards stripes), so the schedule is part of a dataset's
    definition. A sweep is one trial per spin.

    A job file writes a table of these fields, or the name of a preset: "labyrinth" or "domain".
    """

    start_temperature: float = pydantic.Field(1.2, gt=0, le=HOTTEST)
    end_temperature: float = pydantic.Field(0.01, ge=COLDEST)
    sweeps: int = pydantic.Field(1000, ge=0, le=MOST_SWEEPS)
    """Sweeps of the ramp, from the start to the end temperature; 0: quench from random."""
    ramp: Literal["linear", "geometric"] = "linear"
    via: tuple[tuple[float, float], ...] = ()
    """Points (fraction of the sweeps, temperature) between start and end that a piecewise ramp passes through."""
    update: Literal["heat-bath", "metropolis"] = "heat-bath"
    over_relaxation: int = pydantic.Field(0, ge=0, le=MOST_REFLECTIONS)
    """Reflections of every spin about its field after each heat-bath sweep: they decorrelate cheaply."""
    start_field: Vector | None = None
    """External field at the start of the ramp, in J; it goes linearly to the Hamiltonian's. Unset: it is constant."""
    quench_sweeps: int | None = pydantic.Field(None, ge=0, le=MOST_SWEEPS)
    """Sweeps at T = 0 after the ramp, at most. Unset: as many as the torque tolerance takes, which is then a promise:
    a sample that does not get there is an error, and so is one in a dataset that is verified."""
    quench_overshoot: float = pydantic.Field(0.95, ge=0, le=FARTHEST)
    """How far beyond its field a quenched spin turns: 0 is the heat bath at T = 0; 0.95 finds equilibrium sooner.

    Heat bath alone takes tens of thousands of sweeps to bring the torques of a labyrinth below 1e-4 J, with 0.95
    it is two to twenty thousand; the energy is then 0.0007 J per site below that after 1000 plain sweeps.
    """
    torque_tolerance: float = pydantic.Field(1e-4, ge=0)
    """The quench ends when no |S x F| exceeds this, in units of the largest coupling of the Hamiltonian; 0 makes all
    quench sweeps. At least 1e-5 where `quench_sweeps` is unset: spins in float32 come no closer to equilibrium."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        if data not in SCHEDULES:
            raise InputError("preset", f"unknown name {data!r}", suggestion(data, SCHEDULES))
        return dict(SCHEDULES[data])

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        points = self._points()
        for (fraction, temperature), (next_fraction, next_temperature) in itertools.pairwise(points):
            if next_temperature > temperature:
                raise InputError(
                    "end_temperature" if next_fraction == 1 else "via",
                    f"{next_temperature:g} is above the {temperature:g} before it",
                    "an annealing cools: give a lower one",
                )
            if not next_fraction > fraction or next_temperature <= 0:
                raise InputError(
                    "via",
                    f"({next_fraction:g}, {next_temperature:g}) is out of place",
                    "give fractions that grow between 0 and 1, and temperatures above 0",
                )
        if self.start_field is not None and max(map(abs, self.start_field)) > STRONGEST:
            raise InputError("start_field", f"{self.start_field} is out of range", f"give at most {STRONGEST:g} J")
        if self.quench_sweeps is None and not self.torque_tolerance:
            self.check_reachable()
        if self.update == "metropolis" and self.over_relaxation:
            raise InputError("over_relaxation", "goes with the heat bath only", 'write 0, or update = "heat-bath"')
        return self

    def check_reachable(self) -> None:
        """Raise InputError if no sample can keep the torque tolerance; what was made before this was known is read."""
        if self.quench_sweeps is None and self.torque_tolerance < LEAST_TORQUE_TOLERANCE:
            problem = f"{self.torque_tolerance:g} can't be reached with spins in float32"
            remedy = f"give at least {LEAST_TORQUE_TOLERANCE:g}, in units of the largest coupling, or quench_sweeps"
            raise InputError("torque_tolerance", problem, remedy)

    def largest_torque(self, hamiltonian: Hamiltonian) -> float:
        """The |S x F| below which the quench ends for spins of this Hamiltonian, J."""
        return self.torque_tolerance * hamiltonian.largest_coupling

    def temperatures(self) -> npt.NDArray[np.float64]:
        """The temperature of each sweep of the ramp, (sweeps,)."""
        fractions, temperatures = np.array(self._points()).T
        progress = np.linspace(0, 1, self.sweeps)
        if self.ramp == "linear":
            return np.asarray(np.interp(progress, fractions, temperatures))
        # Later parts overwrite the sweep that they share with the one before.
        ramp = np.empty(self.sweeps)
        for (begin, hot), (end, cold) in itertools.pairwise(self._points()):
            inside = (progress >= begin) & (progress <= end)
            ramp[inside] = _geometric(hot, cold, (progress[inside] - begin) / (end - begin))
        return ramp

    def _points(self) -> list[tuple[float, float]]:
        return [(0.0, self.start_temperature), *self.via, (1.0, self.end_temperature)]


def _geometric(hot: float, cold: float, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The ramp hot (cold / hot)^progress at equal steps of progress.

    By decimal arithmetic and products, which are the same on every machine: powers of the maths library are not.
    """
    if not progress.size:
        return progress
    ratio = Decimal(cold) / Decimal(hot)
    first = Decimal(hot) * ratio ** Decimal(progress[0])
    factors = np.full(progress.size, float(ratio ** Decimal(progress[1] - progress[0])) if progress.size > 1 else 1.0)
    factors[0] = float(first)
    return np.multiply.accumulate(factors)


LABYRINTH_SCHEDULE = AnnealSchedule(sweeps=150, over_relaxation=4, quench_sweeps=200, quench_overshoot=0.0)
"""Labyrinths close to those of 3000 heat-bath sweeps and 1000 at T = 0, in a sixth of the time: over 160 fields
energy, centre and width of the structure factor's peak are 2 to 2.5 standard errors apart, the charge is not
(docs/schedules.md). Like theirs, its quench is of a fixed length: torques of about 0.006 J remain."""

DOMAIN_SCHEDULE = AnnealSchedule(start_temperature=0.9, sweeps=600, over_relaxation=6, quench_overshoot=0.9)
"""Domains with the wall of those of the 2023 paper: the interpolation errors of its Table 2 come out at 0.9 of the
published. With 128 x 128 sites they have coarsened to the end, to one stripe or one bubble; five times as many sweeps
give no other (docs/schedules.md)."""

SCHEDULES = {"labyrinth": LABYRINTH_SCHEDULE, "domain": DOMAIN_SCHEDULE}

ScheduleLike: TypeAlias = AnnealSchedule | str | Mapping[str, Any]
"""A schedule, or what a job file has in its place: the name of a preset, or a table of fields."""


def measured_schedule(hamiltonian: Hamiltonian) -> AnnealSchedule:
    """The preset for a Hamiltonian where no schedule is named: "domain" if it has a dipole term, else "labyrinth"."""
    return DOMAIN_SCHEDULE if hamiltonian.dipole else LABYRINTH_SCHEDULE
