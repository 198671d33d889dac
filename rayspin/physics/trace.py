"""What a sample went through while it was annealed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics.checkerboard import Spins
from rayspin.physics.field import energy
from rayspin.physics.hamiltonian import Hamiltonian
from rayspin.physics.observables import magnetization

Array = npt.NDArray[np.float64]


@dataclass
class Trace:
    """Observables at every so many sweeps of the ramp, recorded by `anneal(..., trace=trace)`.

    Recording looks at the spins and nothing else: the sample is the same with and without.
    """

    every: int = 10
    """Sweeps from one record to the next."""
    sweeps: list[int] = field(default_factory=list)
    """Sweeps done."""
    temperature: list[float] = field(default_factory=list)
    """Of the last sweep, J/k_B."""
    energy: list[float] = field(default_factory=list)
    """Per site, J, with the external field of that sweep."""
    magnetization: list[Array] = field(default_factory=list)
    """Mean spin, (3,)."""
    acceptance: list[float] = field(default_factory=list)
    """Fraction of trials accepted since the last record; 1 for the heat bath."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError("every", f"{self.every} is no number of sweeps", "give 1 or more")

    def record(
        self, sweeps: int, temperature: float, spins: Spins, hamiltonian: Hamiltonian, acceptance: float
    ) -> None:
        """Adds a record."""
        self.sweeps.append(sweeps)
        self.temperature.append(temperature)
        self.energy.append(float(energy(spins, hamiltonian)))
        self.magnetization.append(magnetization(spins))
        self.acceptance.append(acceptance)


def specific_heat(energies: npt.ArrayLike, temperature: float, sites: int) -> float:
    """d<e>/dT per site, in k_B, from energies per site at one temperature: sites (<e^2> - <e>^2) / T^2."""
    return float(sites * np.var(np.asarray(energies, np.float64)) / temperature**2)


def susceptibility(magnetizations: npt.ArrayLike, temperature: float, sites: int) -> float:
    """d<m>/dH per site, averaged over directions, from mean spins (n, 3): sites (<m.m> - <m>.<m>) / (3 T)."""
    samples = np.asarray(magnetizations, np.float64)
    return float(sites * np.var(samples, axis=0).sum() / (3 * temperature))
