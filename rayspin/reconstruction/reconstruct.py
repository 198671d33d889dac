"""Reconstruction of fine spins from coarse ones by a method of choice."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.arrays import channel_last
from rayspin.config import build, suggestion
from rayspin.errors import InputError, shown
from rayspin.physics import Degradation, Hamiltonian
from rayspin.physics.arguments import lattice, number, spin_field, whole
from rayspin.physics.degradation import LinearDegradation
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.reconstruction.interpolation import INTERPOLATIONS, Interpolation
from rayspin.reconstruction.network import NETWORK, FineNetwork, Network
from rayspin.reconstruction.noise import estimated_amplitude, residual_amplitude, with_noise
from rayspin.reconstruction.observations import coarse_spins, known_pixels, shift_pairs, without_gaps
from rayspin.reconstruction.operator import Maps, Operator
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Method, Problem, Spectrum, component_maps, possible
from rayspin.reconstruction.projections import LINEAR, Projections
from rayspin.reconstruction.shipped_trust import shipped_model
from rayspin.reconstruction.strengths import MAPFit
from rayspin.reconstruction.trust import Residuals, TrustModel

METHODS: Mapping[str, Any] = {
    **dict.fromkeys(INTERPOLATIONS, Interpolation),
    **LINEAR,
    "projections": Projections,
    "map": MAP,
    "map-fit": MAPFit,
}
"""The classes of the methods by name, but for "network", which needs one; see `method_of`."""

# Largest amplitude of noise.
_LOUDEST = 1e6


class AssumptionWarning(UserWarning):
    """The coarse spins contradict what a reconstruction assumes."""


@dataclass(frozen=True)
class Reconstruction:
    """Reconstructed spins.

    Attributes:
        spins: (N, Y, X, 3) unit spins, float32; (Y, X, 3) if one field was given; (..., 1) if S_z alone was given, and
            the method uses no Hamiltonian.
        trust: predicted squared error |S - S_true|^2 of each site, averaged by a Gaussian of 6 sites, (N, Y, X) or
            (Y, X), float32; its mean over a field is three times the mean squared error of a component. NaN where no
            trust model is known, unless `reconstruct` is given one: without a Hamiltonian; for Hamiltonians, scales,
            degradations or options of the method other than those of the package's models; and for noise, missing
            pixels, several observations or S_z alone.
        extrapolated: where the prediction is an extrapolation, because such residuals did not occur in the fields
            that the trust model was fitted on, in the shape of `trust`; everywhere if there is no model. If it is true
            for more than about 1 % of the sites, an assumption is likely to be wrong.
        noise: amplitude alpha of the noise of the coarse spins, given or estimated.
        hamiltonian: the Hamiltonian that was given, or estimated by "map-fit"; None if there is none.
        strength_errors: standard errors of the estimated strengths by name, from the spread over fields (over blocks of
            32 x 32 sites if there are fewer than four fields), and 0.1 % of the strength for what all fields share,
            since they are not fully quenched. Of 16 groups of four fields at scale 8, the truth lay within one error
            and within two errors in 81 % and 100 % (DMI of labyrinths), 56 % and 94 % (dipole strength of domains),
            and 56 % and 100 % (their anisotropy).
        suspect: what contradicts the assumptions, in one line, or None; the text of the `AssumptionWarning`.
    """

    spins: npt.NDArray[np.float32]
    trust: npt.NDArray[np.float32]
    extrapolated: npt.NDArray[np.bool_]
    noise: float = 0.0
    hamiltonian: Hamiltonian | None = None
    strength_errors: Mapping[str, float] = field(default_factory=dict)
    suspect: str | None = None


def reconstruct(
    coarse_NYXC: npt.ArrayLike,
    scale: int,
    method: str | Method = "map",
    *,
    degradation: LinearDegradation | None = None,
    hamiltonian: HamiltonianLike | None = None,
    spectrum: npt.ArrayLike | None = None,
    start: npt.ArrayLike | None = None,
    network: FineNetwork | None = None,
    shifts: Sequence[tuple[int, int]] | None = None,
    noise: float | None = 0.0,
    known: npt.ArrayLike | None = None,
    any_length: bool = False,
    trust: TrustModel | None = None,
) -> Reconstruction:
    """Reconstruct fine spins from coarse ones.

    | method | uses |
    |---|---|
    | "gaussian", "bilinear", "bicubic" | where the pixels are |
    | "gaussian (published)", ... | the same, but shifts the image by (scale - 1) / 2 sites, as in the 2023 paper |
    | "fourier" | the degradation |
    | "wiener" | the degradation, and the spectrum of fine fields |
    | "wiener-em" | the degradation; learns an isotropic spectrum from the coarse fields |
    | "projections" | the degradation, and that spins are unit vectors |
    | "map" | the degradation, the Hamiltonian, and that the fine spins are a local minimum of its energy |
    | "map-fit" | the same, except for the strengths of the Hamiltonian's terms, which it estimates |
    | "network" | what the network was trained on |

    "wiener", "wiener-em", "map" and "map-fit" account for noise; the others fit it.

    An `AssumptionWarning` is issued if the residuals of "map" or "map-fit" contradict the assumptions.

    Args:
        coarse_NYXC: coarse spins, (N, Y / scale, X / scale, 3), or one field; of any length up to 1, or any length if
            there is noise. The last axis has length 1 if S_z alone was measured, which "map", the interpolations,
            "fourier" and "projections" accept.
        scale: fine sites per coarse pixel along each axis.
        method: name of a method, or a method with options, such as `Projections(iterations=400)`.
        degradation: what made the coarse spins: a `Degradation`, or any object with a method `operator`; see
            `rayspin.physics.degradation.LinearDegradation`. None selects the published degradation.
        hamiltonian: the Hamiltonian of the fine spins, for "map"; its form for "map-fit", see `MAPFit`. The trust in
            the results of other methods needs it, too.
        spectrum: the spectrum of fine fields on the same lattice, (Y, X, 3, 3), for "wiener"; see `spectrum`.
        start: fine spins (N, Y, X, 3) to start from, for "projections" and "map", in place of the method's own start;
            those of a network, for example, `network.reconstruct(coarse)`.
        network: the network of the method "network", such as `rayspin.models.pretrained("labyrinth-x8")`.
        shifts: K pairs (rows, columns) of fine sites, for K observations of each field: coarse spins
            (N, K, Y / scale, X / scale, 3). Observation k degrades the field moved by -shift, so its pixel (y, x) lies
            at (y, x) * scale + shift.
        noise: amplitude alpha of the noise alpha R, with a random unit vector R at each pixel (variance alpha^2 / 3 in
            each component). Coarse spins of length 1 are taken as normalized after the noise was added, as in the
            papers. None estimates the amplitude: "map" from what the Hamiltonian doesn't explain, other methods from
            the weakest coarse waves, which is too much where the spins fill all waves (labyrinths at scale 8).
        known: False where a coarse pixel is missing, in the shape of the coarse spins without the last axis, or without
            the first axes. The values of missing pixels don't matter.
        any_length: accept coarse spins of lengths above 1, as of a microscope that is not calibrated.
        trust: predicts the errors; None selects a model of the package. See `fit_trust`.

    Raises:
        InputError: an argument is invalid, or the method needs one that is missing.
    """
    scale, pairs = whole("scale", scale, 1), shift_pairs(shifts)
    if trust is not None and not isinstance(trust, TrustModel):
        raise InputError("trust", f"{shown(trust)} is not a trust model", "give one of fit_trust, or none")
    if trust is not None and trust.scale != scale:
        remedy = "give a model of the same scale, or none"
        raise InputError("trust", f"the model was fitted at scale {trust.scale}, not {scale}", remedy)
    noise = None if noise is None else number("noise", noise, 0, _LOUDEST)
    mask = known_pixels(known, np.shape(coarse_NYXC)[:-1])
    longest = None if noise != 0 or any_length else 1
    coarse = coarse_spins(coarse_NYXC, mask, None if shifts is None else len(pairs), longest)
    batch = coarse.reshape(-1, len(pairs), *coarse.shape[-3:])
    rows, columns = lattice((scale * batch.shape[2], scale * batch.shape[3]), "open")
    mask = None if mask is None else mask.reshape(batch.shape[:-1])
    problem = Problem(
        np.ascontiguousarray(np.moveaxis(without_gaps(batch, mask), -1, 1), np.float32),
        Operator(_degradation(degradation), (rows, columns), scale, pairs),
        None if hamiltonian is None else Hamiltonian.from_argument(hamiltonian, "hamiltonian"),
        None if spectrum is None else _spectrum(spectrum, (rows, columns, 3, 3)),
        None if start is None else _start(start, (len(batch), rows, columns, 3)),
        mask,
    )
    return _solved(_method(method, network), problem, noise, trust, coarse.shape[: -3 if shifts is None else -4])


def _solved(
    method: Method, problem: Problem, noise: float | None, trust: TrustModel | None, before: tuple[int, ...]
) -> Reconstruction:
    """Reconstruct, and judge the result; `before` are the axes before the rows."""
    if isinstance(method, Network):
        # It was trained on coarse spins as they are measured.
        noise = noise or 0.0
    amplitude = estimated_amplitude(problem.coarse_NCKYX) if noise is None else noise
    solved = problem if noise == 0 or isinstance(method, Network) else with_noise(problem, amplitude)
    solver: Method = method
    errors: dict[str, float] = {}
    if isinstance(method, MAPFit):
        fit = method.fit(solved)
        errors = {name: float(error) for name, error in zip(method.names(problem.hamiltonian), fit.errors)}
        problem = replace(problem, hamiltonian=fit.assumptions.hamiltonian)
        solver, solved = method.map, replace(solved, hamiltonian=problem.hamiltonian, start_NCYX=fit.spins_NCYX)
    spins_NCYX = possible(solver.solve(solved))
    if noise is None and isinstance(solver, MAP):
        # The Hamiltonian separates spins from noise better than the spectrum of the coarse spins does.
        amplitude = residual_amplitude(problem, spins_NCYX)
        solved = with_noise(problem, amplitude)
        spins_NCYX = possible(solver.solve(replace(solved, start_NCYX=spins_NCYX)))
    solved = replace(solved, start_NCYX=problem.start_NCYX)
    predicted, extrapolated, suspect = _judged(trust or shipped_model(method, solved), spins_NCYX, solved)
    if suspect is not None and isinstance(solver, MAP):
        warnings.warn(suspect, AssumptionWarning, stacklevel=3)
    spins_NYXC = np.ascontiguousarray(channel_last(spins_NCYX), np.float32)
    shape = before + problem.operator.shape
    return Reconstruction(
        spins_NYXC.reshape(*shape, -1),
        predicted.reshape(shape),
        extrapolated.reshape(shape),
        amplitude,
        problem.hamiltonian,
        errors,
        suspect,
    )


def _judged(
    trust: TrustModel | None, spins_NCYX: Maps, problem: Problem
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], str | None]:
    """Return the predicted squared errors, where they are extrapolated, and what contradicts the assumptions."""
    if trust is None:
        shape = len(spins_NCYX), *problem.operator.shape
        return np.full(shape, np.nan, np.float32), np.ones(shape, bool), None
    hamiltonian = None if trust.hamiltonian is None else problem.hamiltonian or trust.hamiltonian
    residuals = Residuals.of(spins_NCYX, problem, hamiltonian)
    predicted, extrapolated = trust.predict(residuals)
    return predicted.astype(np.float32), extrapolated, trust.contradiction(residuals)


def _method(method: str | Method, network: FineNetwork | None) -> Method:
    if method == NETWORK:
        if network is None:
            remedy = 'give one such as rayspin.models.pretrained("labyrinth-x8")'
            raise InputError("network", f'the method "{NETWORK}" needs one', remedy)
        return Network(network)
    if network is not None:
        raise InputError("network", "the method takes none", f'use method = "{NETWORK}", or leave it out')
    return method_of(method)


def method_of(method: str | Method, options: Mapping[str, Any] | None = None, where: str = "method") -> Method:
    """Return a method with options, by its name.

    Args:
        method: the name; a method is returned as it is.
        options: options that differ from the defaults of the method.
        where: place of the options in error messages.

    Raises:
        InputError: the name is unknown, or an option is invalid.
    """
    if not isinstance(method, str):
        if not callable(getattr(method, "solve", None)):
            raise InputError("method", f"{shown(method)} is not a method", f"give one of {', '.join(METHODS)}")
        return method
    if method not in METHODS:
        raise InputError("method", f"unknown name {method!r}", suggestion(method, [*METHODS, NETWORK]))
    named: Method = build(METHODS[method], {**INTERPOLATIONS.get(method, {}), **(options or {})}, where)
    return named


def _degradation(degradation: LinearDegradation | None) -> LinearDegradation:
    if degradation is None:
        return Degradation()
    if callable(getattr(degradation, "operator", None)):
        return degradation
    return Degradation.from_argument(degradation, "degradation")


def _start(values: npt.ArrayLike, shape: tuple[int, ...]) -> Maps:
    spins = spin_field(values, "start")
    if spins.reshape(-1, *spins.shape[-3:]).shape != shape:
        raise InputError("start", f"has shape {spins.shape}", f"give {shape}")
    return component_maps(spins.reshape(shape))


def _spectrum(values: npt.ArrayLike, shape: tuple[int, ...]) -> Spectrum:
    found = np.asarray(values)
    if found.shape != shape or found.dtype.kind not in "fc" or not np.isfinite(found).all():
        problem = f"is not a spectrum of this lattice (shape {found.shape}, dtype {found.dtype})"
        raise InputError("spectrum", problem, f"give finite numbers of shape {shape}, from fine fields of this lattice")
    return found.astype(np.complex64)
