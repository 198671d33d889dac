"""Reconstruction of many fields in parts: what a method learns from all fields of a call is learned before, once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.physics import Hamiltonian
from rayspin.reconstruction.network import NETWORK
from rayspin.reconstruction.operator import Maps
from rayspin.reconstruction.posterior import MAP
from rayspin.reconstruction.problem import Method, Problem, Spectrum
from rayspin.reconstruction.reconstruct import Reconstruction, method_of, reconstruct
from rayspin.reconstruction.strengths import MAPFit
from rayspin.reconstruction.wiener import Wiener, WienerEM


def _learns(method: str | Method, *, noisy: bool) -> bool:
    """Return whether a method learns a spectrum from coarse fields; MAP does so by default if they are noisy.

    Args:
        method: the method.
        noisy: whether it assumes noise.
    """
    if isinstance(method, WienerEM) or method == "wiener-em" or getattr(method, "start", None) == "wiener-em":
        return True
    return noisy and (method == "map" or (isinstance(method, MAP) and method.start is None))


def learned_spectrum(coarse_NYXC: npt.ArrayLike, scale: int, method: str | Method, **known: Any) -> Spectrum | None:
    """Return the spectrum that "wiener-em", or a method that starts from it, learns from coarse fields.

    Args:
        coarse_NYXC: coarse spins, (N, Y / scale, X / scale, 3).
        scale: fine sites per coarse pixel along each axis.
        method: the method.
        known: further arguments of `reconstruct`.

    Returns:
        The spectrum, (Y, X, 3, 3); None if the method learns none.

    Raises:
        InputError: as in `reconstruct`.
    """
    if not _learns(method, noisy=known.get("noise", 0) != 0) or np.shape(coarse_NYXC)[-1] == 1:
        return None
    learning = _Learning(method if isinstance(method, WienerEM) else WienerEM())
    reconstruct(coarse_NYXC, scale, learning, **known)
    return learning.spectrum_YXCC


def learned_hamiltonian(
    coarse_NYXC: npt.ArrayLike, scale: int, method: str | Method, **known: Any
) -> tuple[MAP, Hamiltonian] | None:
    """Return MAP, and the Hamiltonian whose strengths "map-fit" estimates from coarse fields.

    Args:
        coarse_NYXC: coarse spins, (N, Y / scale, X / scale, 3).
        scale: fine sites per coarse pixel along each axis.
        method: the method.
        known: further arguments of `reconstruct`.

    Returns:
        MAP with its options, and the Hamiltonian; None unless the method is "map-fit".

    Raises:
        InputError: as in `reconstruct`.
    """
    method = MAPFit() if method == "map-fit" else method
    if not isinstance(method, MAPFit):
        return None
    hamiltonian = reconstruct(coarse_NYXC, scale, method, **known).hamiltonian
    assert hamiltonian is not None
    return method.map, hamiltonian


def learned_weight(
    coarse_NYXC: npt.ArrayLike, scale: int, method: str | Method, *, spectrum: Spectrum | None = None, **known: Any
) -> float | None:
    """Return the weight of the coarse data that MAP chooses by hidden pixels of coarse fields.

    Args:
        coarse_NYXC: coarse spins, (N, Y / scale, X / scale, 3).
        scale: fine sites per coarse pixel along each axis.
        method: the method.
        spectrum: the spectrum of `learned_spectrum`, if the method starts from "wiener-em"; it isn't learned again.
        known: further arguments of `reconstruct`.

    Returns:
        The weight, in units of the largest coupling; None if the method is not MAP, or chooses none.

    Raises:
        InputError: as in `reconstruct`.
    """
    chooser = None if method == NETWORK else method_of(method)
    if not isinstance(chooser, MAP) or not chooser.chooses_weight(noisy=known.get("noise", 0) != 0):
        return None
    weighing = _Weighing(chooser)
    if spectrum is not None:
        known["start"] = reconstruct(coarse_NYXC, scale, Wiener(), spectrum=spectrum, **known).spins
    reconstruct(coarse_NYXC, scale, weighing, **known)
    return weighing.weight


def reconstruct_apart(
    coarse_NYXC: npt.ArrayLike,
    scale: int,
    method: str | Method,
    *,
    spectrum: Spectrum | None = None,
    network: Any = None,
    **known: Any,
) -> Reconstruction:
    """Reconstruct fields such that the result for a field does not depend on the others of the call.

    Args:
        coarse_NYXC: coarse spins, (N, Y / scale, X / scale, 3).
        scale: fine sites per coarse pixel along each axis.
        method: the method.
        spectrum: the spectrum of `learned_spectrum`, or that of fine fields for "wiener".
        network: the network of the method "network"; other methods start from its output.
        known: further arguments of `reconstruct`.

    Raises:
        InputError: as in `reconstruct`.
    """
    if spectrum is None and network is None:
        return reconstruct(coarse_NYXC, scale, method, **known)
    if network is not None:
        applied = known | {"network": network}
        first = reconstruct(coarse_NYXC, scale, NETWORK, **applied)
    else:
        linear = method if isinstance(method, Wiener) else Wiener()
        first = reconstruct(coarse_NYXC, scale, linear, spectrum=spectrum, **known)
    if method in (NETWORK, "wiener", "wiener-em") or isinstance(method, Wiener | WienerEM):
        return first
    return reconstruct(coarse_NYXC, scale, method, start=first.spins, **known)


@dataclass
class _Learning:
    """The method "wiener-em", which keeps what it has learned.

    Attributes:
        learner: the method.
        spectrum_YXCC: the spectrum of the last call.
    """

    learner: WienerEM
    spectrum_YXCC: Spectrum | None = None

    def solve(self, problem: Problem) -> Maps:
        """Return the filtered spins; see `Method`."""
        self.spectrum_YXCC, _ = self.learner.learn(problem)
        return Wiener().solve(replace(problem, spectrum_YXCC=self.spectrum_YXCC))


@dataclass
class _Weighing:
    """MAP, of which only the weight is used.

    Attributes:
        method: MAP.
        weight: the weight that it chose in the last call.
    """

    method: MAP
    weight: float | None = None

    def solve(self, problem: Problem) -> Maps:
        """Choose the weight, and return the start; see `Method`."""
        start_NCYX = self.method.start_of(problem)
        self.weight = self.method.weight_of(problem, start_NCYX)
        return start_NCYX
