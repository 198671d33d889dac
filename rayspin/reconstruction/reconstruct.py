"""Reconstruction of fine spins from coarse ones by a method of choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from rayspin.arrays import channel_first, channel_last
from rayspin.config import suggestion
from rayspin.errors import InputError, shown
from rayspin.physics import Degradation, Hamiltonian
from rayspin.physics.arguments import lattice, number, spin_field, whole
from rayspin.physics.degradation import LinearDegradation
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.reconstruction.interpolation import Interpolation
from rayspin.reconstruction.network import FineNetwork, Network
from rayspin.reconstruction.noise import estimated_amplitude, residual_amplitude, with_noise
from rayspin.reconstruction.observations import coarse_spins, known_pixels, shift_pairs, without_gaps
from rayspin.reconstruction.operator import Operator
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Maps, Method, Problem, Spectrum, unit
from rayspin.reconstruction.projections import LINEAR, Projections

METHODS: Mapping[str, Callable[[], Method]] = {
    **{name: partial(Interpolation, kernel=name) for name in ("gaussian", "bilinear", "bicubic")},
    **{
        f"{name} (published)": partial(Interpolation, kernel=name, aligned=False)
        for name in ("gaussian", "bilinear", "bicubic")
    },
    **LINEAR,
    "projections": Projections,
    "map": MAP,
}
"""The methods by name, but for "network", which needs one."""

# Largest amplitude of noise.
_LOUDEST = 1e6


@dataclass(frozen=True)
class Reconstruction:
    """Reconstructed spins.

    Attributes:
        spins: (N, Y, X, 3) unit spins, float32; (Y, X, 3) if one field was given.
        noise: amplitude alpha of the noise of the coarse spins, given or estimated.
    """

    spins: npt.NDArray[np.float32]
    noise: float = 0.0


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
) -> Reconstruction:
    """Reconstruct fine spins from coarse ones.

    | method | knows |
    |---|---|
    | "gaussian", "bilinear", "bicubic" | where the pixels are |
    | "gaussian (published)", ... | less: the image is shifted by (scale - 1) / 2 sites, as in the 2023 paper |
    | "fourier" | the degradation |
    | "wiener" | the degradation, and the spectrum of fine fields |
    | "wiener-em" | the degradation; learns an isotropic spectrum from the coarse fields |
    | "projections" | the degradation, and that spins are unit vectors |
    | "map" | the degradation, the Hamiltonian, and that the fine spins are a local minimum of its energy |
    | "network" | what the network was trained on |

    "wiener", "wiener-em" and "map" weigh noise; the others fit it.

    Args:
        coarse_NYXC: coarse spins, (N, Y / scale, X / scale, 3), or one field; of any length up to 1, or any length if
            there is noise. The last axis has length 1 if S_z alone was measured, which "map" accepts.
        scale: fine sites per coarse pixel along each axis.
        method: name of a method, or a method with options, such as `Projections(iterations=400)`.
        degradation: what made the coarse spins: a `Degradation`, or any object with a method `operator`; see
            `rayspin.physics.degradation.LinearDegradation`. None selects the published degradation.
        hamiltonian: the Hamiltonian of the fine spins, for "map".
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

    Raises:
        InputError: an argument is invalid, or the method needs one that is missing.
    """
    scale, pairs = whole("scale", scale, 1), shift_pairs(shifts)
    noise = None if noise is None else number("noise", noise, 0, _LOUDEST)
    mask = known_pixels(known, np.shape(coarse_NYXC)[:-1])
    coarse = coarse_spins(coarse_NYXC, mask, None if shifts is None else len(pairs), longest=1 if noise == 0 else None)
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
    spins_NCYX, amplitude = _solved(_method(method, network), problem, noise)
    spins_NYXC = np.ascontiguousarray(channel_last(spins_NCYX), np.float32)
    before = coarse.shape[: -3 if shifts is None else -4]
    return Reconstruction(spins_NYXC.reshape(*before, rows, columns, 3), amplitude)


def _solved(method: Method, problem: Problem, noise: float | None) -> tuple[Maps, float]:
    """Return unit spins (N, 3, Y, X), and the amplitude of the noise."""
    # A network was trained on coarse spins as they are measured.
    if noise == 0 or isinstance(method, Network):
        return unit(method.solve(problem)), noise or 0.0
    amplitude = estimated_amplitude(problem.coarse_NCKYX) if noise is None else noise
    spins_NCYX = unit(method.solve(with_noise(problem, amplitude)))
    if noise is None and isinstance(method, MAP):
        # The Hamiltonian tells spins from noise better than the spectrum of the coarse spins does.
        amplitude = residual_amplitude(problem, spins_NCYX)
        spins_NCYX = unit(method.solve(replace(with_noise(problem, amplitude), start_NCYX=spins_NCYX)))
    return spins_NCYX, amplitude


def _method(method: str | Method, network: FineNetwork | None) -> Method:
    if method == "network":
        if network is None:
            remedy = 'give one such as rayspin.models.pretrained("labyrinth-x8")'
            raise InputError("network", 'the method "network" needs one', remedy)
        return Network(network)
    if network is not None:
        raise InputError("network", "the method takes none", 'use method = "network", or leave it out')
    if not isinstance(method, str):
        if not callable(getattr(method, "solve", None)):
            raise InputError("method", f"{shown(method)} is not a method", f"give one of {', '.join(METHODS)}")
        return method
    if method not in METHODS:
        raise InputError("method", f"unknown name {method!r}", suggestion(method, [*METHODS, "network"]))
    return METHODS[method]()


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
    return _maps(spins.reshape(shape))


def _spectrum(values: npt.ArrayLike, shape: tuple[int, ...]) -> Spectrum:
    found = np.asarray(values)
    if found.shape != shape or found.dtype.kind not in "fc" or not np.isfinite(found).all():
        problem = f"of shape {found.shape} and dtype {found.dtype} is none of this lattice"
        raise InputError("spectrum", problem, f"give finite numbers {shape}, from fine fields of the lattice")
    return found.astype(np.complex64)


def _maps(spins_NYXC: npt.NDArray[np.floating]) -> Maps:
    return np.ascontiguousarray(channel_first(spins_NYXC), dtype=np.float32)
