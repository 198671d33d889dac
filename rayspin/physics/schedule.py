"""The annealing schedule as a configuration, with the presets."""

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
"""Smallest torque tolerance that a quench can reach. Spins and fields are float32: torques of up to 9e-6 of the largest
coupling remain after any number of sweeps (128 x 128 sites, five terms of strength 1; exchange alone: 3e-6)."""


class AnnealSchedule(Config):
    """A ramp of Monte Carlo sweeps from random spins, followed by a quench. Temperatures are in J/k_B.

    Labyrinths don't converge: they coarsen towards stripes indefinitely. The schedule is therefore part of a dataset's
    definition. A sweep is one trial per spin.

    A job file contains a table of these fields, or the name of a preset: "labyrinth" or "domain".
    """

    start_temperature: float = pydantic.Field(1.2, gt=0, le=HOTTEST)
    """Temperature at the start of the ramp, J/k_B."""
    end_temperature: float = pydantic.Field(0.01, ge=COLDEST)
    """Temperature at the end of the ramp, J/k_B."""
    sweeps: int = pydantic.Field(1000, ge=0, le=MOST_SWEEPS)
    """Sweeps of the ramp; 0 quenches random spins."""
    ramp: Literal["linear", "geometric"] = "linear"
    """Interpolation of the temperature between the points of the ramp: "linear" or "geometric"."""
    via: tuple[tuple[float, float], ...] = ()
    """Intermediate points (fraction of the sweeps, temperature) of a piecewise ramp."""
    update: Literal["heat-bath", "metropolis"] = "heat-bath"
    """Monte Carlo update of the ramp: "heat-bath" or "metropolis"."""
    over_relaxation: int = pydantic.Field(0, ge=0, le=MOST_REFLECTIONS)
    """Reflections of every spin about its field after each heat-bath sweep, which decorrelate spins at low cost."""
    start_field: Vector | None = None
    """External field at the start of the ramp, J; it changes linearly to that of the Hamiltonian. Unset: it is
    constant."""
    quench_sweeps: int | None = pydantic.Field(None, ge=0, le=MOST_SWEEPS)
    """Maximum number of sweeps at T = 0 after the ramp. Unset: as many as the torque tolerance requires. A sample that
    does not reach the tolerance is then an error, both in annealing and in the verification of a dataset."""
    quench_overshoot: float = pydantic.Field(0.95, ge=0, le=FARTHEST)
    """How far a spin turns beyond its field in the quench: 0 is the heat bath at T = 0; 0.95 reaches equilibrium
    sooner.

    The heat bath alone takes tens of thousands of sweeps to bring the torques of a labyrinth below 1e-4 J; with 0.95 it
    takes two to twenty thousand. The energy is then 0.0007 J per site below that after 1000 plain sweeps.
    """
    torque_tolerance: float = pydantic.Field(1e-4, ge=0)
    """The quench ends when no |S x F| exceeds this, in units of the largest coupling of the Hamiltonian; 0 performs all
    quench sweeps. If `quench_sweeps` is unset it must be at least 1e-5, the limit for float32 spins."""

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
                    f"{next_temperature:g} is higher than the previous temperature, {temperature:g}",
                    "give temperatures that don't rise",
                )
            if not next_fraction > fraction or next_temperature <= 0:
                raise InputError(
                    "via",
                    f"({next_fraction:g}, {next_temperature:g}) is invalid",
                    "give fractions that increase between 0 and 1, and temperatures above 0",
                )
        if self.start_field is not None and max(map(abs, self.start_field)) > STRONGEST:
            raise InputError("start_field", f"{self.start_field} is out of range", f"give at most {STRONGEST:g} J")
        if self.quench_sweeps is None and not self.torque_tolerance:
            self.check_reachable()
        if self.update == "metropolis" and self.over_relaxation:
            raise InputError("over_relaxation", "requires heat-bath updates", 'write 0, or update = "heat-bath"')
        return self

    def check_reachable(self) -> None:
        """Check that the quench can reach the torque tolerance if `quench_sweeps` is unset.

        A schedule is not checked when it is created unless its tolerance is 0, so that older datasets can be read.

        Raises:
            InputError: the tolerance is too small for float32 spins.
        """
        if self.quench_sweeps is None and self.torque_tolerance < LEAST_TORQUE_TOLERANCE:
            problem = f"{self.torque_tolerance:g} can't be reached with spins in float32"
            remedy = f"give at least {LEAST_TORQUE_TOLERANCE:g}, in units of the largest coupling, or quench_sweeps"
            raise InputError("torque_tolerance", problem, remedy)

    def largest_torque(self, hamiltonian: Hamiltonian) -> float:
        """Return the |S x F| at which the quench ends for a Hamiltonian, J."""
        return self.torque_tolerance * hamiltonian.largest_coupling

    def temperatures(self) -> npt.NDArray[np.float64]:
        """Return the temperature of each sweep of the ramp, (sweeps,), J/k_B."""
        fractions, temperatures = np.array(self._points()).T
        progress = np.linspace(0, 1, self.sweeps)
        if self.ramp == "linear":
            return np.asarray(np.interp(progress, fractions, temperatures))
        # A part overwrites the sweep that it shares with the previous part.
        ramp = np.empty(self.sweeps)
        for (begin, hot), (end, cold) in itertools.pairwise(self._points()):
            inside = (progress >= begin) & (progress <= end)
            ramp[inside] = _geometric(hot, cold, (progress[inside] - begin) / (end - begin))
        return ramp

    def _points(self) -> list[tuple[float, float]]:
        return [(0.0, self.start_temperature), *self.via, (1.0, self.end_temperature)]


def _geometric(hot: float, cold: float, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ramp hot (cold / hot)^progress at equal steps of progress.

    Decimal arithmetic and products give the same result on every machine; powers in the math library do not.
    """
    if not progress.size:
        return progress
    ratio = Decimal(cold) / Decimal(hot)
    first = Decimal(hot) * ratio ** Decimal(progress[0])
    factors = np.full(progress.size, float(ratio ** Decimal(progress[1] - progress[0])) if progress.size > 1 else 1.0)
    factors[0] = float(first)
    return np.multiply.accumulate(factors)


LABYRINTH_SCHEDULE = AnnealSchedule(sweeps=150, over_relaxation=4, quench_sweeps=200, quench_overshoot=0.0)
"""Yields labyrinths close to those of 3000 heat-bath sweeps and 1000 sweeps at T = 0, in a sixth of the time. Over 160
fields, the energy and the center and width of the structure factor's peak differ by 2 to 2.5 standard errors, and the
charge does not differ (docs/schedules.md). As in that schedule, the quench has a fixed length: torques of about 0.006 J
remain."""

DOMAIN_SCHEDULE = AnnealSchedule(start_temperature=0.9, sweeps=600, over_relaxation=6, quench_overshoot=0.9)
"""Yields domains with the same wall as in the 2023 paper: interpolation errors are 0.9 of those in its Table 2. On
128 x 128 sites, domains coarsen completely, to one stripe or one bubble; five times as many sweeps lead to no other
result (docs/schedules.md)."""

SCHEDULES = {"labyrinth": LABYRINTH_SCHEDULE, "domain": DOMAIN_SCHEDULE}
"""The presets by their names in job files."""

ScheduleLike: TypeAlias = AnnealSchedule | str | Mapping[str, Any]
"""A schedule, or its form in a job file: the name of a preset, or a table of fields."""


def measured_schedule(hamiltonian: Hamiltonian) -> AnnealSchedule:
    """Return the default preset for a Hamiltonian: "domain" if it has a dipole term, else "labyrinth"."""
    return DOMAIN_SCHEDULE if hamiltonian.dipole else LABYRINTH_SCHEDULE
