"""Observables recorded during annealing, and response functions from their fluctuations.

The example computes the specific heat of a lattice at one temperature from a record every second sweep, after 100
sweeps of equilibration. Without neighbors it is that of Langevin's function, 1 - (h/T)^2 / sinh^2(h/T) = 0.276 at
h = T:

>>> from rayspin.physics import AnnealSchedule, Hamiltonian, Trace, anneal
>>> from rayspin.physics.trace import specific_heat, susceptibility
>>> free = Hamiltonian(exchange=0.0, external_field=(0.0, 0.0, 1.0))
>>> constant = AnnealSchedule(start_temperature=1.0, end_temperature=1.0, sweeps=2100, quench_sweeps=0)
>>> trace = Trace(at=range(100, 2101, 2))
>>> spins = anneal(free, 32, constant, seed=(1, 0), trace=trace)
>>> round(specific_heat(trace.energy, 1.0, sites=32 * 32), 1)
0.3
>>> round(susceptibility(trace.magnetization, 1.0, sites=32 * 32), 1)
0.3
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics.arguments import COLDEST, HOTTEST, number, series, whole
from rayspin.physics.checkerboard import Spins
from rayspin.physics.field import energy
from rayspin.physics.hamiltonian import Hamiltonian
from rayspin.physics.observables import magnetization

Array = npt.NDArray[np.float64]


@dataclass
class Trace:
    """Observables at chosen sweeps of the ramp and at the end of the quench, recorded by `anneal(..., trace=trace)`.

    Recording does not change the sample.
    """

    every: int = 10
    """Sweeps of the ramp between records."""
    at: int | Iterable[int] | None = None
    """Sweeps of the ramp to record at, counted from 1, instead of `every`; stored as a tuple."""
    sweeps: list[int] = field(default_factory=list)
    """Number of sweeps done at each record, including those of the quench."""
    temperature: list[float] = field(default_factory=list)
    """Temperature of the last sweep before each record, J/k_B; 0 after the quench."""
    energy: list[float] = field(default_factory=list)
    """Energy per site at each record, J, in the external field of that sweep."""
    magnetization: list[Array] = field(default_factory=list)
    """Mean spin at each record, (3,)."""
    acceptance: list[float] = field(default_factory=list)
    """Fraction of trials accepted since the previous record; 1 for the heat bath and the quench."""

    def __post_init__(self) -> None:
        whole("every", self.every, 1)
        if self.at is not None:
            # Stored as a tuple, because an iterator can be read only once.
            self.at = _chosen(self.at)

    def stops(self, sweeps: int) -> Set[int]:
        """Return the sweeps to record at.

        Args:
            sweeps: number of sweeps of the ramp.

        Raises:
            InputError: `at` contains a number that is not a sweep of the ramp.
        """
        if self.at is None:
            return frozenset(range(self.every, sweeps + 1, self.every))
        chosen = _chosen(self.at)
        if max(chosen, default=0) > sweeps:
            raise InputError("at", f"{max(chosen)} is beyond the ramp", f"give sweeps from 1 to {sweeps}")
        return frozenset(chosen)

    def record(
        self, sweeps: int, temperature: float, spins: Spins, hamiltonian: Hamiltonian, acceptance: float
    ) -> None:
        """Append a record.

        Args:
            sweeps: number of sweeps done.
            temperature: temperature of the last sweep, J/k_B.
            spins: current spins, (rows, columns, 3).
            hamiltonian: the Hamiltonian, with the current external field.
            acceptance: fraction of trials accepted since the previous record.
        """
        self.sweeps.append(sweeps)
        self.temperature.append(temperature)
        self.energy.append(float(energy(spins, hamiltonian)))
        self.magnetization.append(magnetization(spins))
        self.acceptance.append(acceptance)


def _chosen(at: int | Iterable[int]) -> tuple[int, ...]:
    return tuple(whole("at", sweep, 1) for sweep in (at if isinstance(at, Iterable) else (at,)))


def specific_heat(energies: npt.ArrayLike, temperature: float, sites: int) -> float:
    """Return the specific heat d<e>/dT per site, in k_B: sites (<e^2> - <e>^2) / T^2.

    Args:
        energies: energies per site at one temperature, (n,), J.
        temperature: J/k_B.
        sites: number of sites.

    Raises:
        InputError: an argument is invalid.
    """
    return float(sites * np.var(series("energies", energies)) / _checked(temperature, sites) ** 2)


def susceptibility(magnetizations: npt.ArrayLike, temperature: float, sites: int) -> float:
    """Return the susceptibility d<m>/dH per site, averaged over directions: sites (<m.m> - <m>.<m>) / (3 T).

    Args:
        magnetizations: mean spins at one temperature, (n, 3).
        temperature: J/k_B.
        sites: number of sites.

    Raises:
        InputError: an argument is invalid.
    """
    samples = series("magnetizations", magnetizations, 3)
    return float(sites * np.var(samples, axis=0).sum() / (3 * _checked(temperature, sites)))


def _checked(temperature: float, sites: int) -> float:
    """Check the number of sites and the temperature, and return the temperature."""
    whole("sites", sites, 1)
    return number("temperature", temperature, COLDEST, HOTTEST)
