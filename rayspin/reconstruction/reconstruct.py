"""Reconstruction of fine spins from coarse ones by a method of choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rayspin.arrays import channel_first, channel_last
from rayspin.config import suggestion
from rayspin.errors import InputError, shown
from rayspin.physics import Degradation, Hamiltonian
from rayspin.physics.arguments import lattice, spin_field, whole
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.reconstruction.network import FineNetwork, Network
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Maps, Method, Operator, Problem, Spectrum, unit
from rayspin.reconstruction.projections import LINEAR, Projections

METHODS: Mapping[str, type[Method]] = {**LINEAR, "projections": Projections, "map": MAP}
"""The methods by name, but for "network", which needs one."""

# Coarse spins are averages of unit spins; they exceed length 1 by rounding only.
_LONGEST = 1 + 1e-3


@dataclass(frozen=True)
class Reconstruction:
    """Reconstructed spins.

    Attributes:
        spins: (N, Y, X, 3) unit spins, float32; (Y, X, 3) if one field was given.
    """

    spins: npt.NDArray[np.float32]


def reconstruct(
    coarse_NYXC: npt.ArrayLike,
    scale: int,
    method: str | Method = "map",
    *,
    degradation: Degradation | None = None,
    hamiltonian: HamiltonianLike | None = None,
    spectrum: npt.ArrayLike | None = None,
    start: npt.ArrayLike | None = None,
    network: FineNetwork | None = None,
) -> Reconstruction:
    """Reconstruct fine spins from coarse ones.

    | method | knows |
    |---|---|
    | "fourier" | the degradation |
    | "wiener" | the degradation, and the spectrum of fine fields |
    | "wiener-em" | the degradation; learns an isotropic spectrum from the coarse fields |
    | "projections" | the degradation, and that spins are unit vectors |
    | "map" | the degradation, the Hamiltonian, and that the fine spins are a local minimum of its energy |
    | "network" | what the network was trained on |

    Args:
        coarse_NYXC: coarse spins without noise, (N, Y / scale, X / scale, 3), or one field; of any length up to 1.
        scale: fine sites per coarse pixel along each axis.
        method: name of a method, or a method with options, such as `Projections(iterations=400)`.
        degradation: the degradation that made the coarse spins; None selects the published one.
        hamiltonian: the Hamiltonian of the fine spins, for "map".
        spectrum: the spectrum of fine fields on the same lattice, (Y, X, 3, 3), for "wiener"; see `spectrum`.
        start: fine spins (N, Y, X, 3) to start from, for "projections" and "map", in place of the method's own start;
            those of a network, for example, `network.reconstruct(coarse)`.
        network: the network of the method "network", such as `rayspin.models.pretrained("labyrinth-x8")`.

    Raises:
        InputError: an argument is invalid, or the method needs one that is missing.
    """
    coarse, scale = _coarse_spins(coarse_NYXC), whole("scale", scale, 1)
    batch = coarse.reshape(-1, *coarse.shape[-3:])
    rows, columns = lattice((scale * batch.shape[1], scale * batch.shape[2]), "open")
    degradation = Degradation() if degradation is None else Degradation.from_argument(degradation, "degradation")
    problem = Problem(
        _maps(batch),
        Operator(degradation, (rows, columns), scale),
        None if hamiltonian is None else Hamiltonian.from_argument(hamiltonian, "hamiltonian"),
        None if spectrum is None else _spectrum(spectrum, (rows, columns, 3, 3)),
        None if start is None else _start(start, (len(batch), rows, columns, 3)),
    )
    spins_NYXC = np.ascontiguousarray(channel_last(unit(_method(method, network).solve(problem))), np.float32)
    return Reconstruction(spins_NYXC.reshape(*coarse.shape[:-3], rows, columns, 3))


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


def _coarse_spins(values: npt.ArrayLike) -> npt.NDArray[np.floating]:
    coarse = spin_field(values, "coarse spins")
    longest = float(np.linalg.norm(coarse, axis=-1).max())
    if longest > _LONGEST:
        remedy = "give averages of unit spins, not normalized or scaled"
        raise InputError("coarse spins", f"have lengths up to {longest:.4g}, above 1", remedy)
    return coarse


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
