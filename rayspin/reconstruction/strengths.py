"""MAP under a Hamiltonian whose form is known and whose strengths are estimated from the coarse spins."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.arrays import channel_last
from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.physics import Hamiltonian, torque
from rayspin.reconstruction.estimation import STRENGTHS, Assumptions, Estimate, estimate
from rayspin.reconstruction.operator import Maps
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Problem
from rayspin.reconstruction.projections import Projections

Strength = Literal["dmi", "dipole", "anisotropy"]

_STARTS = (Projections(), Projections(start="wiener-em"))


class MAPFit(Config):
    """MAP with the strengths of some terms estimated from the coarse spins of all fields of the call.

    The Hamiltonian gives the form (kind of DMI, axis of the anisotropy) and the terms that are known; its exchange
    sets the unit. Without one, the exchange is 1. The strengths that are estimated start from the values that leave
    the least torque on the result of projections, whatever the Hamiltonian says about them.
    """

    terms: tuple[Strength, ...] | None = None
    """Terms whose strengths are estimated; None selects those that the Hamiltonian has, or all three without one."""
    map: MAP = MAP(tolerance=2e-5)
    """The method of reconstruction under each Hamiltonian. Its own start is not used."""
    rounds: int = pydantic.Field(12, ge=1)
    """Maximum number of Gauss-Newton steps."""
    tolerance: float = pydantic.Field(1e-3, gt=0)
    """The steps end when no strength changes by more than this, relative to its value or to 0.1."""

    def solve(self, problem: Problem) -> Maps:
        """Return the spins under the estimated Hamiltonian, of unit length; see `Method`."""
        return self.fit(problem).spins_NCYX

    def fit(self, problem: Problem) -> Estimate:
        """Estimate the strengths, and reconstruct under them.

        Args:
            problem: the coarse spins and what is known.

        Returns:
            the estimate; its errors are in the order of `names`.

        Raises:
            InputError: the Hamiltonian has no exchange, which sets the unit, or no term is left to estimate.
        """
        problem.require_all_components('"map-fit"')
        known = Hamiltonian() if problem.hamiltonian is None else problem.hamiltonian
        names = self.names(problem.hamiltonian)
        if not names:
            raise InputError("terms", "the Hamiltonian has none to estimate", 'name some, or use the method "map"')
        if not known.exchange:
            raise InputError("exchange", "0 leaves the strengths without a unit", "give the exchange")
        unknown = known.with_updates(**dict.fromkeys(names, 0.0))
        starts = blind_starts(problem)
        fits = [_least_torque(start_NCYX, unknown, names) for start_NCYX in starts]
        best = int(np.argmin([left for _, left in fits]))
        first = unknown.with_updates(**dict(zip(names, fits[best][0])))
        problem = replace(problem, start_NCYX=starts[best])
        method = self.map
        if method.chooses_weight(noisy=bool(problem.variance)):
            # One weight of the data for all rounds.
            weight = method.weight_of(replace(problem, hamiltonian=first), starts[best])
            method = method.with_updates(weight=weight)
        return estimate(
            problem,
            Assumptions(first, problem.operator.degradation),
            [STRENGTHS[name] for name in names],
            method,
            self.rounds,
            self.tolerance,
        )

    def names(self, hamiltonian: Hamiltonian | None) -> tuple[Strength, ...]:
        """Return the names of the strengths that are estimated."""
        if self.terms is not None:
            return tuple(dict.fromkeys(self.terms))
        every: tuple[Strength, ...] = ("dmi", "dipole", "anisotropy")
        return every if hamiltonian is None else tuple(name for name in every if getattr(hamiltonian, name))


def blind_starts(problem: Problem) -> list[Maps]:
    """Return the start of a problem, or candidates that need no Hamiltonian: for narrow walls, and for labyrinths."""
    return [method.solve(problem) for method in _STARTS] if problem.start_NCYX is None else [problem.start_NCYX]


def mean_torque(spins_NCYX: Maps, hamiltonian: Hamiltonian) -> float:
    """Return the mean of |S x F|^2, J^2."""
    return float(3 * np.square(_torque(spins_NCYX, hamiltonian)).mean())


def _least_torque(spins_NCYX: Maps, unknown: Hamiltonian, names: tuple[Strength, ...]) -> tuple[list[float], float]:
    """Return the strengths that leave the least mean |S x F|^2, which is linear in them, and what they leave, J^2."""
    nothing = Hamiltonian(exchange=0.0, dmi_kind=unknown.dmi_kind, anisotropy_axis=unknown.anisotropy_axis)
    each = [_torque(spins_NCYX, nothing.with_updates(**{name: 1.0})).ravel() for name in names]
    fixed = _torque(spins_NCYX, unknown).ravel()
    strengths, *_ = np.linalg.lstsq(np.stack(each, axis=-1), -fixed, rcond=None)
    allowed = [max(float(strength), STRENGTHS[name].least) for name, strength in zip(names, strengths)]
    return allowed, mean_torque(spins_NCYX, unknown.with_updates(**dict(zip(names, allowed))))


def _torque(spins_NCYX: Maps, hamiltonian: Hamiltonian) -> npt.NDArray[np.float64]:
    return torque(np.ascontiguousarray(channel_last(spins_NCYX)), hamiltonian).astype(np.float64)
