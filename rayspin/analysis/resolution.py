"""How well fine spins are recovered from coarse ones: the rows of the tables in the 2023 paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rayspin.analysis.baselines import Upsample
from rayspin.errors import InputError
from rayspin.metrics import correlation, mse, psnr
from rayspin.models import SuperResolutionNet, apply
from rayspin.physics.arguments import vectors

Spins = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Likeness:
    """How like the truth N estimated fields are, a value each, (N,): see `rayspin.metrics`.

    Attributes:
        mse: mean squared error over sites and components.
        psnr: by definition, dB; the published tables print 6.02 dB more.
        correlation: mean of S . S'.
    """

    mse: Floats
    psnr: Floats
    correlation: Floats


@dataclass(frozen=True)
class Resolution:
    """A method's figures: as it gives the fine spins, and after dividing each by its length."""

    raw: Likeness
    normalized: Likeness


def evaluate_resolution(
    methods: Mapping[str, Upsample], fine_NYXC: npt.ArrayLike, coarse_NYXC: npt.ArrayLike, scale: int
) -> dict[str, Resolution]:
    """A row of the table for each method, on fine spins (N, Y, X, 3) of which it sees the coarse ones only."""
    rows = {}
    for name, method in methods.items():
        estimate = method(coarse_NYXC, scale)
        rows[name] = Resolution(likeness(estimate, fine_NYXC), likeness(normalized(estimate), fine_NYXC))
    return rows


def by_network(network: SuperResolutionNet) -> Upsample:
    """A network as a method, for its own scale only."""

    def method(coarse_YXC: npt.ArrayLike, scale: int) -> Spins:
        if scale != network.config.scale:
            raise InputError("scale", f"the network's is {network.config.scale}, not {scale}", "take that one")
        return apply(network, coarse_YXC)

    return method


def likeness(estimate_NYXC: npt.ArrayLike, truth_NYXC: npt.ArrayLike) -> Likeness:
    """The figures of estimates, each field by itself."""
    return Likeness(
        mse(estimate_NYXC, truth_NYXC),
        psnr(estimate_NYXC, truth_NYXC),
        correlation(estimate_NYXC, truth_NYXC),
    )


def normalized(spins_NYXC: npt.ArrayLike) -> Spins:
    """Spins divided by their length, float32; where that is zero they stay zero."""
    spins = vectors("spins", spins_NYXC)
    length = np.linalg.norm(spins, axis=-1, keepdims=True)
    unit: Spins = np.divide(spins, length, out=np.zeros_like(spins), where=length > 0).astype(np.float32, copy=False)
    return unit
