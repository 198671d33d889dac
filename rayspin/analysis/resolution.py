"""Evaluation of super-resolution methods, with the metrics of the tables in the 2023 paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.metrics import correlation, mse, psnr
from rayspin.models import FineNet, apply
from rayspin.physics.arguments import vectors
from rayspin.reconstruction.interpolation import Upsample

Spins = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Likeness:
    """Similarity of N samples of estimated spins to the true spins (see `rayspin.metrics`).

    Attributes:
        mse: (N,) mean squared error over sites and components.
        psnr: (N,) peak signal-to-noise ratio by its definition, dB; the published tables print 6.02 dB more.
        correlation: (N,) mean of S . S'.
    """

    mse: Floats
    psnr: Floats
    correlation: Floats


@dataclass(frozen=True)
class Resolution:
    """The metrics of a method.

    Attributes:
        raw: metrics of the method's output.
        normalized: metrics after normalizing each spin to length 1.
    """

    raw: Likeness
    normalized: Likeness


def evaluate_resolution(
    methods: Mapping[str, Upsample], fine_NYXC: npt.ArrayLike, coarse_NYXC: npt.ArrayLike, scale: int
) -> dict[str, Resolution]:
    """Evaluate methods that reconstruct fine spins from coarse ones.

    Args:
        methods: the methods by name.
        fine_NYXC: (N, Y, X, 3) true fine spins.
        coarse_NYXC: (N, Y / scale, X / scale, 3) coarse spins, the input of the methods.
        scale: fine sites per coarse pixel along each axis.

    Returns:
        the metrics by the name of the method.

    Raises:
        InputError: the spins are invalid, or a method doesn't support the scale.
    """
    rows = {}
    for name, method in methods.items():
        estimate = method(coarse_NYXC, scale)
        rows[name] = Resolution(likeness(estimate, fine_NYXC), likeness(normalized(estimate), fine_NYXC))
    return rows


def by_network(network: FineNet) -> Upsample:
    """Wrap a network as a method, which raises an InputError for any scale but the network's."""

    def method(coarse_YXC: npt.ArrayLike, scale: int) -> Spins:
        if scale != network.config.scale:
            raise InputError("scale", f"the network has scale {network.config.scale}, not {scale}", "use its scale")
        return apply(network, coarse_YXC)

    return method


def likeness(estimate_NYXC: npt.ArrayLike, truth_NYXC: npt.ArrayLike) -> Likeness:
    """The metrics of each sample.

    Args:
        estimate_NYXC: (N, Y, X, 3) estimated spins.
        truth_NYXC: (N, Y, X, 3) true spins.

    Raises:
        InputError: the arrays are not spins of the same shape.
    """
    return Likeness(
        mse(estimate_NYXC, truth_NYXC),
        psnr(estimate_NYXC, truth_NYXC),
        correlation(estimate_NYXC, truth_NYXC),
    )


def normalized(spins_NYXC: npt.ArrayLike) -> Spins:
    """Normalize spins to length 1, float32; zero vectors stay zero.

    Args:
        spins_NYXC: (..., Y, X, 3) spins.

    Raises:
        InputError: the array doesn't hold vectors.
    """
    spins = vectors("spins", spins_NYXC)
    length = np.linalg.norm(spins, axis=-1, keepdims=True)
    unit: Spins = np.divide(spins, length, out=np.zeros_like(spins), where=length > 0).astype(np.float32, copy=False)
    return unit
