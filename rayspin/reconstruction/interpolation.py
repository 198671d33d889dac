"""Interpolation methods, the baselines of super-resolution networks.

Every method is linear and separable, so it has one matrix per axis: fine = U_Y coarse U_X^T.

The published baselines differ from the others in the position of coarse pixel k on the fine lattice. The strided
degradation keeps site k * scale. Image libraries resize pixel *areas* instead: they place pixel k at
k * scale + (scale - 1) / 2, which shifts the image by (scale - 1) / 2 sites, and they have no periodic boundaries. The
"published" methods do the same, as the tables of the 2023 paper show; the others are aligned and periodic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.reconstruction.problem import Maps, Problem

Floats = npt.NDArray[np.float64]
Kernel = Callable[[Floats], Floats]
"""A function that returns the weights of coarse values at given distances, in coarse pixels."""


def bilinear(distance: Floats) -> Floats:
    """The triangular kernel of linear interpolation."""
    weight: Floats = np.maximum(1 - np.abs(distance), 0)
    return weight


def bicubic(a: float) -> Kernel:
    """The cubic convolution kernel with slope `a` at distance 1 (Keys, IEEE Trans. ASSP 29, 1153 (1981)).

    a = -1/2 reproduces the published results. a = -3/4, also common, is sharper and better on blurred images.
    """

    def kernel(distance: Floats) -> Floats:
        d = np.abs(distance)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * (d**3 - 5 * d**2 + 8 * d - 4)
        return np.where(d < 1, near, np.where(d < 2, far, 0))

    return kernel


def gaussian(distance: Floats) -> Floats:
    """The "gaussian" kernel of image libraries: sigma is 1/2 coarse pixel, and it is truncated at 3/2 coarse pixels."""
    return np.where(np.abs(distance) < 1.5, np.exp(-2 * distance**2), 0)


def interpolation_matrix(kernel: Kernel, pixels: int, scale: int, *, aligned: bool) -> Floats:
    """The interpolation matrix of one axis, (scale * pixels, pixels), whose rows sum to 1.

    Args:
        kernel: the interpolation kernel.
        pixels: number of coarse pixels along the axis.
        scale: fine sites per coarse pixel.
        aligned: place coarse pixel k at fine site k * scale, on a periodic axis. Otherwise place it at the center of
            its block and omit weights beyond the edges, as image libraries do.
    """
    sites = np.arange(scale * pixels)
    places = sites / scale if aligned else (sites + 0.5) / scale - 0.5
    distances = places[:, None] - np.arange(pixels)
    images = pixels * np.arange(-2, 3) if aligned else np.array([0])
    weights: Floats = kernel(distances[..., None] + images).sum(axis=-1)
    matrix: Floats = weights / weights.sum(axis=1, keepdims=True)
    return matrix


_KERNELS: Mapping[str, Kernel] = {
    "gaussian": gaussian,
    "bilinear": bilinear,
    "bicubic": bicubic(-0.75),
    "bicubic (published)": bicubic(-0.5),
}


class Interpolation(Config):
    """Interpolates each component between the pixels of one observation, whose values it keeps unless it blurs them.

    It uses the positions of the pixels, but not the degradation.
    """

    kernel: Literal["gaussian", "bilinear", "bicubic"] = "bicubic"
    """Kernel of the interpolation."""
    aligned: bool = True
    """Whether a pixel lies at the first site of its block, as it does after the published degradation. Otherwise it
    lies in the middle of its block, and the edges are not periodic, as in the published baselines."""

    def solve(self, problem: Problem) -> Maps:
        """Return the interpolated spins; see `Method`."""
        operator = problem.operator
        if len(operator.shifts) > 1:
            remedy = 'give one, or use the method "fourier"'
            raise InputError("shifts", "an interpolation takes one observation", remedy)
        published = f"{self.kernel} (published)"
        kernel = _KERNELS[published if not self.aligned and published in _KERNELS else self.kernel]
        rows, columns = (
            interpolation_matrix(kernel, pixels, operator.scale, aligned=self.aligned).astype(np.float32)
            for pixels in operator.coarse_shape
        )
        fine: Maps = rows @ problem.coarse_NCKYX[:, :, 0] @ columns.T
        return np.roll(fine, operator.shifts[0], axis=(-2, -1))


INTERPOLATIONS: Mapping[str, Mapping[str, Any]] = {
    f"{kernel}{suffix}": {"kernel": kernel, "aligned": not suffix}
    for suffix in (" (published)", "")
    for kernel in ("gaussian", "bilinear", "bicubic")
}
"""Options of the interpolations by their names in tables: first the published baselines, then those that are aligned
and periodic."""
