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
from rayspin.physics._sweep_kernels import heat_bath_sweeps, quench_sweeps
from rayspin.physics.checkerboard import Checkerboard
from rayspin.physics.hamiltonian import LABYRINTH, Hamiltonian
from rayspin.rng import seed_words

Spins = npt.NDArray[np.float32]

# At this temperature the spins are random to float32, whatever the field.
_HOT = 1e9


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
    rows, columns = (size, size) if isinstance(size, int) else size
    board = Checkerboard(rows, columns, hamiltonian.boundary == "periodic")
    couplings, external_field = _couplings(hamiltonian)
    spins, site, scratch = board.zeros(), board.zeros(), board.scratch()
    board.pack(external_field, site)
    states = seed_words("anneal", seed, 4 * board.padded).reshape(4, board.padded)

    def heat_bath(temperatures: npt.NDArray[np.float64], over_relaxation: int) -> None:
        betas = (1 / temperatures).astype(np.float32)
        heat_bath_sweeps(spins, site, states, scratch, board.key, couplings, betas, over_relaxation)

    # Random spins: the first sweep is so hot that it draws every direction alike.
    heat_bath(np.array([_HOT]), 0)

    # Cooling by heat bath.
    heat_bath(schedule.temperatures(), schedule.over_relaxation)

    # Quench: every spin along its field, until the torques vanish.
    tolerance = np.float32(schedule.torque_tolerance)
    quench_sweeps(spins, site, board.padded, board.key, couplings, schedule.quench_sweeps, tolerance)

    return _turned(board.unpack(spins), hamiltonian)


def warm_up(hamiltonian: Hamiltonian = LABYRINTH) -> None:
    """Compiles the kernels that annealing this Hamiltonian needs, or loads them from Numba's cache."""
    anneal(hamiltonian, size=4, schedule=AnnealSchedule(sweeps=1, quench_sweeps=1), seed=(0,))


def _couplings(hamiltonian: Hamiltonian) -> tuple[tuple[np.float32, np.float32], tuple[float, float, float]]:
    """What the kernels know of the Hamiltonian: exchange and interfacial dmi; and the external field.

    Bulk DMI is the interfacial one for spins turned by 90 degrees about z: (x, y, z) to (-y, x, z).
    """
    if hamiltonian.dipole:
        raise InputError("dipole", "can't be annealed yet", "give a Hamiltonian without it")
    if hamiltonian.anisotropy:
        raise InputError("anisotropy", "can't be annealed yet", "give a Hamiltonian without it")
    x, y, z = hamiltonian.external_field
    field = (-y, x, z) if hamiltonian.dmi_kind == "bulk" else (x, y, z)
    return (np.float32(hamiltonian.exchange), np.float32(hamiltonian.dmi)), field


def _turned(spins: Spins, hamiltonian: Hamiltonian) -> Spins:
    """The spins as the Hamiltonian means them, from those that the kernels know (`_couplings`)."""
    if hamiltonian.dmi_kind == "interfacial":
        return spins
    return np.stack((spins[..., 1], -spins[..., 0], spins[..., 2]), axis=-1)
