"""Pictures of spins and of values on the lattice, with their keys of colors and scale bars.

Spins are drawn as in both papers: white is +z, black is -z, and the hue is the direction in the plane (red is +x,
yellow-green is +y). The first row of an array is drawn at the bottom, so that +y points up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from rayspin.analysis.figures.style import MM, SMALL_POINTS, Floats

_NONE = 1e-12
"""Length below which a vector has no direction."""

_BAR_BELOW_MM = 1.8
"""Distance of a scale bar from its picture."""

_KEY_PIXELS = 201

_MOST_PIXELS = 1024
"""Largest side of a drawn array: a picture has at most 44 mm, and the colors of an array need much memory."""


def every(shape: tuple[int, ...], side: int) -> tuple[slice, slice]:
    """Return the rows and columns that an image of values shows: all, or every n-th of large ones.

    Args:
        shape: rows and columns of the values.
        side: largest number of pixels along a side of the image.
    """
    step = -(-max(shape) // side)
    return slice(None, None, step), slice(None, None, step)


def spin_colors(spins_YXC: Floats) -> npt.NDArray[np.float64]:
    """RGB colors, 0 to 1, (Y, X, 3), of vectors (Y, X, 3): white is +z, black is -z, hue is the angle in the plane.

    Vectors of length zero, which have no direction, are gray.
    """
    length = np.linalg.norm(spins_YXC, axis=-1)
    unit = spins_YXC / np.maximum(length, _NONE)[..., None]
    hue = np.mod(np.arctan2(unit[..., 1], unit[..., 0]) / (2 * np.pi), 1.0)
    up = unit[..., 2]
    # White (saturation 0) at +z, full color in the plane, black (value 0) at -z.
    saturation = np.where(length > _NONE, np.sqrt(np.clip(1 - np.maximum(up, 0), 0, 1)), 0.0)
    value = np.where(length > _NONE, np.sqrt(np.clip(1 + np.minimum(up, 0), 0, 1)), 0.5)
    return np.asarray(hsv_to_rgb(np.stack([hue, saturation, value], axis=-1)))


def show_values(axis: Axes, values: Floats, title: str) -> None:
    """Draw values on the lattice in a thin frame, without ticks.

    Args:
        axis: the panel.
        values: vectors (Y, X, 3), drawn by their direction; S_z (Y, X, 1), in gray from -1 to 1; or values (Y, X) that
            are not negative, with a color bar.
        title: title of the panel.
    """
    axis.set(xticks=[], yticks=[], title=title)
    axis.spines[:].set_linewidth(0.3)
    values = values[every(values.shape[:2], _MOST_PIXELS)]
    if values.ndim == 2:
        _show_magnitude(axis, values)
    elif values.shape[-1] == 1:
        axis.imshow(values[..., 0], cmap="gray", vmin=-1, vmax=1)
    else:
        axis.imshow(spin_colors(values))


def _show_magnitude(axis: Axes, values_YX: Floats) -> None:
    most = float(np.quantile(values_YX, 0.99))
    picture = axis.imshow(values_YX, cmap="magma", vmin=0, vmax=most)
    # Below the picture, so that it is as large as the others of its row.
    bar = axis.inset_axes((0.0, -0.1, 1.0, 0.05))
    figure: Any = axis.get_figure()
    figure.colorbar(picture, cax=bar, orientation="horizontal", extend="max")
    bar.locator_params(nbins=3)
    bar.ticklabel_format(scilimits=(-1, 3), useMathText=True)


def bar_length(sites: int) -> int:
    """Return the length of a scale bar: the largest of 1, 2, 5, 10, 20, 50, ... sites within a quarter of a side."""
    most = max(1.0, sites / 4)
    power = 10 ** math.floor(math.log10(most))
    return int(power * max(step for step in (1, 2, 5) if step * power <= most))


def show_scale_bar(axis: Axes, sites: int) -> None:
    """Draw a scale bar below the left corner of a picture.

    Args:
        axis: the panel of a picture.
        sites: sites that its width stands for; pixels of coarse spins are wider than a site.
    """
    left, right = axis.get_xlim()
    length = bar_length(sites)
    figure: Any = axis.get_figure()
    below = ScaledTranslation(0, -_BAR_BELOW_MM * MM, figure.dpi_scale_trans)
    place = blended_transform_factory(axis.transData, axis.transAxes + below)
    end = left + length * (right - left) / sites
    bar = Line2D([left, end], [0, 0], transform=place, color="black", linewidth=1.5, solid_capstyle="butt", marker="")
    bar.set_clip_on(False)
    bar.set_gid("scale-bar")
    axis.add_artist(bar)
    unit = "site" if length == 1 else "sites"
    axis.text(end, 0, f" {length} {unit}", transform=place, va="center", fontsize=SMALL_POINTS)


def show_key(axis: Axes) -> None:
    """Draw the key of the colors: a disc of directions, seen from +z, with +z in its center and -z at its rim."""
    y, x = np.mgrid[-1 : 1 : _KEY_PIXELS * 1j, -1 : 1 : _KEY_PIXELS * 1j]
    radius = np.hypot(x, y)
    polar = np.pi * np.minimum(radius, 1)
    plane = np.sin(polar) / np.maximum(radius, _NONE)
    colors = spin_colors(np.stack([plane * x, plane * y, np.cos(polar)], axis=-1))
    axis.imshow(np.concatenate([colors, (radius <= 1)[..., None]], axis=-1), extent=(-1, 1, -1, 1))
    for text, at, across, up in (
        ("$x$", (1.1, 0.0), "left", "center"),
        ("$y$", (0.0, 1.1), "center", "bottom"),
        ("white: $+z$\nblack: $-z$", (0.0, -1.2), "center", "top"),
    ):
        axis.text(*at, text, ha=across, va=up, fontsize=SMALL_POINTS)
    axis.set_axis_off()


def show_gray_key(axis: Axes) -> None:
    """Draw the key of the gray levels of S_z."""
    axis.imshow(np.linspace(-1, 1, _KEY_PIXELS)[:, None], cmap="gray", extent=(0, 0.35, -1, 1))
    axis.set_xlim(-1, 1.6)
    for value in (-1, 0, 1):
        axis.text(0.5, value, f"{value:+d}" if value else "0", va="center", fontsize=SMALL_POINTS)
    axis.text(0.17, 1.15, "$S_z$", ha="center", va="bottom", fontsize=SMALL_POINTS)
    axis.set_axis_off()
