"""Simulated annealing: from random spins, cooled by heat bath and quenched, to one sample.

A sample is a function of (Hamiltonian, size, schedule, seed) alone, bit for bit: not of threads, batches or
CPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics.hamiltonian import LABYRINTH, Hamiltonian
from rayspin.physics.sampling import Sampler

Spins = npt.NDArray[np.float32]


class AnnealSchedule(Config):
    """How a sample is cooled: a ramp of heat-bath sweeps, then a quench. Temperatures in J/k_B.

    There is no converged labyrinth (it coarsens for ever towards stripes), so the schedule is part of a
    dataset's definition. A sweep is one trial per spin.
    """

    start_temperature: float = pydantic.Field(1.2, gt=0, le=1e6)
    end_temperature: float = pydantic.Field(0.01, ge=1e-6)
    sweeps: int = pydantic.Field(1000, ge=0)
    """Heat-bath sweeps of the ramp, from the start to the end temperature; 0: quench from random."""
    ramp: Literal["linear", "geometric"] = "linear"
    over_relaxation: int = pydantic.Field(0, ge=0)
    """Reflections of every spin about its field after each heat-bath sweep: they decorrelate cheaply."""
    quench_sweeps: int = pydantic.Field(1000, ge=0)
    """Sweeps at T = 0 after the ramp, at most."""
    quench_overshoot: float = pydantic.Field(0.0, ge=0, le=0.95)
    """How far beyond its field a quenched spin turns: 0 is the heat bath at T = 0; 0.95 finds equilibrium sooner.

    Heat bath alone takes tens of thousands of sweeps to bring the torques of a labyrinth below 1e-4 J, with 0.95
    it is one to four thousand; and 0.0007 J per site below the energy after 1000 plain sweeps.
    """
    torque_tolerance: float = pydantic.Field(1e-4, ge=0)
    """The quench ends when no |S x F| in a sweep exceeds this, in J; 0 makes all quench sweeps."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if self.end_temperature > self.start_temperature:
            raise InputError(
                "end_temperature",
                f"{self.end_temperature:g} is above start_temperature {self.start_temperature:g}",
                "an annealing cools: give a lower one",
            )
        return self

    def temperatures(self) -> npt.NDArray[np.float64]:
        """The temperature of each sweep of the ramp, (sweeps,)."""
        ramp = np.linspace if self.ramp == "linear" else np.geomspace
        return ramp(self.start_temperature, self.end_temperature, self.sweeps)


def anneal(
    hamiltonian: Hamiltonian,
    size: int | tuple[int, int],
    schedule: AnnealSchedule,
    seed: Sequence[int],
) -> Spins:
    """One annealed sample: unit spins (rows, columns, 3), float32.

    Args:
        hamiltonian: the energy that is annealed.
        size: sites along each side, or (rows, columns); even where the lattice is periodic.
        schedule: temperatures and sweeps.
        seed: address of the sample's randomness: (root_seed, sample).

    Raises:
        InputError: a size, seed or Hamiltonian that can't be annealed.
    """
    # Random spins.
    sampler = Sampler(hamiltonian, size, seed)

    # Cooling by heat bath.
    sampler.heat_bath(schedule.temperatures(), schedule.over_relaxation)

    # Quench: every spin along its field, until the torques vanish.
    sampler.quench(schedule.quench_sweeps, schedule.torque_tolerance, schedule.quench_overshoot)
    return sampler.spins


def warm_up(hamiltonian: Hamiltonian = LABYRINTH) -> None:
    """Compiles the kernels that annealing this Hamiltonian needs, or loads them from Numba's cache."""
    anneal(hamiltonian, size=4, schedule=AnnealSchedule(sweeps=1, quench_sweeps=1), seed=(0,))
