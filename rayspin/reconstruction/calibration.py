"""Calibration of the blur, the gain and the offset of a microscope from coarse spins, under a known Hamiltonian."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rayspin.config import suggestion
from rayspin.errors import InputError
from rayspin.physics import Degradation, Hamiltonian
from rayspin.physics.arguments import lattice, spin_field, whole
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.reconstruction.estimation import GAINS, OFFSETS, SIGMA, STRENGTHS, Assumptions, Parameter, estimate
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Problem, component_maps
from rayspin.reconstruction.strengths import blind_starts, mean_torque

_PARAMETERS: Mapping[str, Mapping[str, Parameter]] = {
    "sigma": {"sigma": SIGMA},
    "gain": {f"gain_{axis}": parameter for axis, parameter in zip("xyz", GAINS)},
    "offset": {f"offset_{axis}": parameter for axis, parameter in zip("xyz", OFFSETS)},
    **{name: {name: parameter} for name, parameter in STRENGTHS.items()},
}

# The steps end when no parameter changes by more than this, relative to its size, after at most so many rounds.
_TOLERANCE, _ROUNDS = 3e-4, 15


@dataclass(frozen=True)
class Calibration:
    """How coarse spins follow from fine ones: coarse = gain * D(fine) + offset.

    Attributes:
        degradation: the degradation D, with the estimated sigma.
        gain: gain of the components, (3,).
        offset: offset of the components, (3,).
        hamiltonian: the Hamiltonian, with the estimated strengths if some were unknown.
        errors: standard errors by name: "sigma", "gain_x", ..., "offset_z", "dmi", ...
    """

    degradation: Degradation
    gain: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    hamiltonian: Hamiltonian
    errors: Mapping[str, float]

    def corrected(self, coarse_NYXC: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return (coarse - offset) / gain, the coarse spins for `reconstruct`.

        Args:
            coarse_NYXC: measured coarse spins, (..., 3).
        """
        corrected: npt.NDArray[np.float32] = ((np.asarray(coarse_NYXC) - self.offset) / self.gain).astype(np.float32)
        return corrected


def calibrate(
    coarse_NYXC: npt.ArrayLike,
    scale: int,
    hamiltonian: HamiltonianLike,
    *,
    unknown: Collection[str] = ("sigma", "gain", "offset"),
    degradation: Degradation | None = None,
    method: MAP | None = None,
) -> Calibration:
    """Estimate the blur, the gain and the offset of coarse spins, such that MAP reproduces them.

    It uses that spins of the Hamiltonian have lengths, walls and periods of their own. It was measured at scale 8 with
    eight labyrinths or domains, for a sigma off by 20 %, for gains of 1.1 and offsets of 0.05, and for all seven
    parameters together. Strengths of the Hamiltonian can be unknown, too; how well they separate from the blur and the
    gain was not measured.

    >>> calibration = calibrate(coarse, 8, "labyrinth")                       # doctest: +SKIP
    >>> reconstruct(calibration.corrected(coarse), 8, hamiltonian="labyrinth",
    ...             degradation=calibration.degradation)                      # doctest: +SKIP

    Args:
        coarse_NYXC: measured coarse spins, (N, Y / scale, X / scale, 3), or one field; of any length.
        scale: fine sites per coarse pixel along each axis.
        hamiltonian: the Hamiltonian of the fine spins.
        unknown: what is estimated, of "sigma", "gain", "offset", "dmi", "dipole" and "anisotropy".
        degradation: the assumed degradation, from whose sigma the estimate starts; None selects the published one.
        method: the method of reconstruction; None selects `MAP(tolerance=2e-5)`.

    Raises:
        InputError: an argument is invalid, or the Hamiltonian can't be used for MAP.
    """
    coarse = spin_field(coarse_NYXC, "coarse spins")
    batch = component_maps(coarse.reshape(-1, *coarse.shape[-3:]))
    scale = whole("scale", scale, 1)
    shape = lattice((scale * batch.shape[2], scale * batch.shape[3]), "open")
    degradation = Degradation() if degradation is None else Degradation.from_argument(degradation, "degradation")
    known = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    parameters = _parameters(unknown)
    problem = Problem(batch[:, :, None], Operator(degradation, shape, scale), known)
    start_NCYX = min(blind_starts(problem), key=lambda spins_NCYX: mean_torque(spins_NCYX, known))
    found = estimate(
        replace(problem, start_NCYX=start_NCYX),
        Assumptions(known, degradation),
        list(parameters.values()),
        MAP(tolerance=2e-5) if method is None else method,
        _ROUNDS,
        _TOLERANCE,
    )
    given = found.assumptions
    assert isinstance(given.degradation, Degradation)
    errors = dict(zip(parameters, map(float, found.errors)))
    return Calibration(given.degradation, np.array(given.gain), np.array(given.offset), given.hamiltonian, errors)


def _parameters(unknown: Collection[str]) -> dict[str, Parameter]:
    names = [unknown] if isinstance(unknown, str) else list(unknown)
    for name in names:
        if name not in _PARAMETERS:
            raise InputError("unknown", f"{name!r} can't be estimated", suggestion(str(name), _PARAMETERS))
    if not names:
        raise InputError("unknown", "nothing is left to estimate", f"give some of {', '.join(_PARAMETERS)}")
    return {name: parameter for group in names for name, parameter in _PARAMETERS[group].items()}
