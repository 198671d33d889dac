"""Fits of trust models to fields whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rayspin.physics import Degradation, Hamiltonian
from rayspin.physics.arguments import spin_field
from rayspin.physics.hamiltonian import PRESETS, HamiltonianLike
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Method, Problem, component_maps
from rayspin.reconstruction.reconstruct import method_of, reconstruct
from rayspin.reconstruction.shipped_trust import FILE, write_models
from rayspin.reconstruction.strengths import MAPFit
from rayspin.reconstruction.trust import Residuals, TrustModel, Values, fitted_curve, squared_error

# Sites between those that enter a fit along each axis: errors and residuals are smooth over 6 sites.
_STRIDE = 4

# Weights of the torque that a fit chooses from.
_MIXINGS = (0.0, 0.25, 0.5, 0.75, 1.0)

# Fields of a batch: "wiener-em" and "map-fit" learn from the fields of a call together.
_BATCH = 24

_SHIPPED: tuple[str | Method, ...] = (
    "fourier",
    "wiener-em",
    "projections",
    "map",
    MAP(weight=20.0, start="wiener-em"),
)
_SCALES = (4, 8, 16)


def fit_trust(
    fine_NYXC: npt.ArrayLike,
    scale: int,
    method: str | Method = "map",
    *,
    hamiltonian: HamiltonianLike | None = None,
    degradation: Degradation | None = None,
) -> TrustModel:
    """Fit a trust model to fine fields: degrade and reconstruct them, and compare residuals with errors.

    The weight of the torque is chosen on half of the fields, by the deviance of a gamma distribution, for curves that
    were fitted to the other half; then a curve is fitted to all fields. A few dozen fields are enough for methods whose
    errors are alike everywhere. Fields may come from measurements, or from simulations of the Hamiltonian:

    >>> fine = anneal_many(hamiltonian, 128, schedule, [(1, n) for n in range(64)])      # doctest: +SKIP
    >>> model = fit_trust(fine, 8, "map", hamiltonian=hamiltonian)                       # doctest: +SKIP
    >>> reconstruct(coarse, 8, "map", hamiltonian=hamiltonian, trust=model)              # doctest: +SKIP

    Args:
        fine_NYXC: fine spins, (N, Y, X, 3), at least two fields.
        scale: fine sites per coarse pixel along each axis.
        method: as in `reconstruct`.
        hamiltonian: as in `reconstruct`. For methods that don't need it, the torque is used if it is given.
        degradation: the degradation; None selects the published one.

    Raises:
        InputError: as from `reconstruct`.
    """
    fine = spin_field(fine_NYXC)
    degradation = Degradation() if degradation is None else degradation
    known = None if hamiltonian is None else Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    parts = [
        _residuals(fine[first : first + _BATCH], scale, method, known, degradation)
        for first in range(0, len(fine), _BATCH)
    ]
    errors = np.concatenate([error for _, error in parts])
    torques = [found.torque for found, _ in parts if found.torque is not None]
    misfits = [found.misfit for found, _ in parts]
    residuals = Residuals(np.concatenate(misfits), np.concatenate(torques) if torques else None)
    mixing = 0.0 if known is None else min(_MIXINGS, key=lambda weight: _deviance(residuals.mixed(weight), errors))
    curve = fitted_curve(_thinned(residuals.mixed(mixing)), _thinned(errors))
    torque_medians, ratios = residuals.medians()
    return TrustModel(
        method=repr(method_of(method)),
        scale=scale,
        degradation=degradation,
        hamiltonian=known,
        mixing=mixing,
        residuals=_rounded(curve.residuals),
        errors=_rounded(curve.errors),
        exponent=round(curve.exponent, 4),
        range=(round(curve.range[0], 4), round(curve.range[1], 4)),
        usual_torque=round(float(torque_medians.max()), 4),
        usual_ratio=round(float(ratios.max()), 4),
    )


def refit_shipped(fields: Mapping[str, npt.ArrayLike], path: Path = FILE, scales: Sequence[int] = _SCALES) -> None:
    """Fit the models of the package again, and write them.

    The shipped file was made from 96 fields of 128 x 128 sites of each preset, annealed by the preset schedules. The
    models of "map-fit" are those of its MAP under the true Hamiltonian, which it finds within 0.1 %, except for
    labyrinths at scale 16 (1 %).

    Args:
        fields: fine fields (N, Y, X, 3) by the name of a preset.
        path: the file to write.
        scales: the scales.
    """
    models = [
        fit_trust(fine, scale, method, hamiltonian=PRESETS[name])
        for name, fine in fields.items()
        for scale in scales
        for method in _SHIPPED
    ]
    fitting = MAPFit()
    models += [
        fit_trust(fine, scale, fitting.map.with_updates(start="wiener-em"), hamiltonian=PRESETS[name]).with_updates(
            method=repr(fitting)
        )
        for name, fine in fields.items()
        for scale in scales
    ]
    write_models(models, path)


def _residuals(
    fine: npt.NDArray[np.floating],
    scale: int,
    method: str | Method,
    known: Hamiltonian | None,
    degradation: Degradation,
) -> tuple[Residuals, Values]:
    """Return the residuals and the errors (N, Y, X) of reconstructions of degraded fields."""
    coarse = degradation.apply(fine, scale)
    result = reconstruct(coarse, scale, method, hamiltonian=known, degradation=degradation)
    spins, blurred = component_maps(result.spins), component_maps(coarse)
    problem = Problem(blurred[:, :, None], Operator(degradation, (fine.shape[1], fine.shape[2]), scale))
    residuals = Residuals.of(spins, problem, None if known is None else result.hamiltonian)
    return residuals, squared_error(result.spins, fine)


def _deviance(u: Values, errors: Values) -> float:
    """Return the mean gamma deviance of errors of the odd fields, predicted by a curve of the even ones."""
    curve = fitted_curve(_thinned(u[::2]), _thinned(errors[::2]))
    logs = np.interp(_thinned(u[1::2]), curve.residuals, curve.errors)
    return float((_thinned(errors[1::2]) * np.exp(-logs) + logs).mean())


def _thinned(values_NYX: Values) -> Values:
    return values_NYX[:, ::_STRIDE, ::_STRIDE].ravel()


def _rounded(values: Values) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
