"""Interpolation without learning: what a super-resolution network has to beat, and what it was compared with.

Every method is linear and acts on rows and columns alike, so it is one matrix for each axis: fine = U_Y
coarse U_X^T.

Two ways to place a coarse pixel k on the fine lattice make the difference between the published baselines
and good ones. The strided degradation keeps site k * scale. Image libraries resize by pixel *areas*: to
them pixel k sits at k * scale + (scale - 1) / 2, and the picture comes out shifted by (scale - 1) / 2
sites; they also know no periodic edge. The "published" methods do that, as the 2023 paper's tables show;
the others are aligned and periodic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from rayspin.physics import Degradation
from rayspin.physics.arguments import vectors, whole

Floats = npt.NDArray[np.float64]
Kernel = Callable[[Floats], Floats]
"""Weight of a coarse value at a distance, in coarse pixels."""
Upsample = Callable[[npt.ArrayLike, int], npt.NDArray[np.float32]]
"""(coarse spins (..., Y, X, 3), scale) to fine spins (..., scale Y, scale X, 3), float32, not normalized."""


def bilinear(distance: Floats) -> Floats:
    """The triangle of linear interpolation."""
    weight: Floats = np.maximum(1 - np.abs(distance), 0)
    return weight


def bicubic(a: float) -> Kernel:
    """The cubic convolution kernel with slope `a` at distance 1 (Keys, IEEE Trans. ASSP 29, 1153 (1981)).

    -1/2 gives the published figures; -3/4 is the other customary value, sharper, and does better on blurred
    images.
    """

    def kernel(distance: Floats) -> Floats:
        d = np.abs(distance)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * (d**3 - 5 * d**2 + 8 * d - 4)
        return np.where(d < 1, near, np.where(d < 2, far, 0))

    return kernel


def gaussian(distance: Floats) -> Floats:
    """A Gaussian of sigma 1/2 cut at 3/2 coarse pixels: the kernel that image libraries call by this name."""
    return np.where(np.abs(distance) < 1.5, np.exp(-2 * distance**2), 0)


def interpolation_matrix(kernel: Kernel, pixels: int, scale: int, *, aligned: bool) -> Floats:
    """The interpolation of one axis, (scale * pixels, pixels); its rows sum to 1.

    Args:
        kernel: the weights.
        pixels: coarse pixels of the axis.
        scale: fine sites for each.
        aligned: coarse pixel k is fine site k * scale and the axis is periodic; else it is the middle of its
            block and weights beyond the edges are left out, as image libraries do.
    """
    sites = np.arange(scale * pixels)
    places = sites / scale if aligned else (sites + 0.5) / scale - 0.5
    distances = places[:, None] - np.arange(pixels)
    images = pixels * np.arange(-2, 3) if aligned else np.array([0])
    weights: Floats = kernel(distances[..., None] + images).sum(axis=-1)
    matrix: Floats = weights / weights.sum(axis=1, keepdims=True)
    return matrix


def upsample(coarse_YXC: npt.NDArray[np.floating], rows: Floats, columns: Floats) -> npt.NDArray[np.float32]:
    """U_Y coarse U_X^T on spins (..., Y, X, 3), by component."""
    fine: Floats = np.einsum("Yy,...yxc,Xx->...YXc", rows, coarse_YXC, columns, optimize=True)
    return fine.astype(np.float32)


def _by_kernel(kernel: Kernel, *, aligned: bool) -> Upsample:
    def method(coarse_YXC: npt.ArrayLike, scale: int) -> npt.NDArray[np.float32]:
        coarse = vectors("coarse", coarse_YXC)
        rows, columns = (
            interpolation_matrix(kernel, pixels, whole("scale", scale, 1), aligned=aligned)
            for pixels in coarse.shape[-3:-1]
        )
        return upsample(coarse, rows, columns)

    return method


def fourier(degradation: Degradation) -> Upsample:
    """Fourier interpolation with deconvolution, for a known degradation."""

    def method(coarse_YXC: npt.ArrayLike, scale: int) -> npt.NDArray[np.float32]:
        coarse = vectors("coarse", coarse_YXC)
        rows, columns = (
            degradation.inverse(whole("scale", scale, 1) * pixels, scale) for pixels in coarse.shape[-3:-1]
        )
        return upsample(coarse, rows, columns)

    return method


def baselines(degradation: Degradation) -> Mapping[str, Upsample]:
    """Every method by its name in tables: the published ones first, then the ones to beat."""
    return MappingProxyType(
        {
            "gaussian (published)": _by_kernel(gaussian, aligned=False),
            "bilinear (published)": _by_kernel(bilinear, aligned=False),
            "bicubic (published)": _by_kernel(bicubic(-0.5), aligned=False),
            "gaussian": _by_kernel(gaussian, aligned=True),
            "bilinear": _by_kernel(bilinear, aligned=True),
            "bicubic": _by_kernel(bicubic(-0.75), aligned=True),
            "fourier": fourier(degradation),
        }
    )
