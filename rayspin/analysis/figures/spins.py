"""Pictures of spins and of values on the lattice.

Spins are drawn as in both papers: white is +z, black is -z, and the hue is the direction in the plane (red is +x,
yellow-green is +y). The first row of an array is drawn at the bottom, so that +y points up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from rayspin.analysis.figures.style import Floats, save, sheet

_NONE = 1e-12
"""Length below which a vector has no direction."""


def spin_colours(spins_YXC: Floats) -> npt.NDArray[np.float64]:
    """RGB colours, 0 to 1, (Y, X, 3), of vectors (Y, X, 3): white is +z, black is -z, hue is the angle in the plane.

    Vectors of length zero, which have no direction, are grey.
    """
    length = np.linalg.norm(spins_YXC, axis=-1)
    unit = spins_YXC / np.maximum(length, _NONE)[..., None]
    hue = np.mod(np.arctan2(unit[..., 1], unit[..., 0]) / (2 * np.pi), 1.0)
    up = unit[..., 2]
    # White (saturation 0) at +z, full colour in the plane, black (value 0) at -z.
    saturation = np.where(length > _NONE, np.sqrt(np.clip(1 - np.maximum(up, 0), 0, 1)), 0.0)
    value = np.where(length > _NONE, np.sqrt(np.clip(1 + np.minimum(up, 0), 0, 1)), 0.5)
    return np.asarray(hsv_to_rgb(np.stack([hue, saturation, value], axis=-1)))


def draw_samples(spins: Sequence[Floats], titles: Sequence[str], path: Path) -> None:
    """Draw samples in a grid of panels with as many columns as rows, or one more.

    Args:
        spins: spins of each sample, (Y, X, 3); sizes may differ.
        titles: title of each panel.
        path: the PNG file.

    Raises:
        MachineError: the system refuses to write; likewise from the other functions of this module.
    """
    columns = math.ceil(math.sqrt(len(spins)))
    rows = math.ceil(len(spins) / columns)
    figure, axes = sheet(rows, columns)
    for axis, spins_YXC, title in zip(axes, spins, titles):
        show_spins(axis, spins_YXC, title)
    save(figure, path)


def draw_resolution(rows: Sequence[Mapping[str, Floats]], path: Path) -> None:
    """Draw one row of panels per sample, such as the coarse input, the output of each method and the true spins.

    Args:
        rows: for each sample, spins (Y, X, 3), or values (Y, X), by the title of the panel.
        path: the PNG file.
    """
    columns = max(map(len, rows))
    figure, axes = sheet(len(rows), columns)
    for number, row in enumerate(rows):
        for axis, (title, values) in zip(axes[number * columns :], row.items()):
            draw = show_spins if values.ndim == 3 else show_magnitude
            draw(axis, values, title)
    save(figure, path)


def draw_application(panels: Mapping[str, Floats], path: Path) -> None:
    """Draw images side by side, and the key of their colours.

    Args:
        panels: spins or fields (Y, X, 3), drawn by their direction, or S_z alone (Y, X, 1), by the title of the panel.
        path: the PNG file.
    """
    wide = [panel.shape[1] / panel.shape[0] for panel in panels.values()]
    height = 3.4
    figure = Figure(figsize=(height * sum(wide) + 1.4, height + 0.4), layout="constrained")
    *axes, key = np.asarray(figure.subplots(1, len(panels) + 1, width_ratios=[*wide, 0.3]))
    for axis, (title, values) in zip(axes, panels.items()):
        axis.set_axis_off()
        if values.shape[-1] == 1:
            axis.imshow(values[..., 0], origin="lower", cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
            axis.set_title(title, fontsize=10)
        else:
            show_spins(axis, values, title)
    show_key(key)
    save(figure, path)


def show_spins(axis: Axes, spins_YXC: Floats, title: str) -> None:
    """Draw vectors (Y, X, 3) in the colours of their directions."""
    axis.imshow(spin_colours(spins_YXC), origin="lower", interpolation="nearest")
    axis.set_title(title, fontsize=10)


def show_key(axis: Axes) -> None:
    """Draw the key of the colours: a disc of directions, seen from +z, with +z in its centre and -z at its rim."""
    y, x = np.mgrid[-1:1:201j, -1:1:201j]
    radius = np.hypot(x, y)
    polar = np.pi * np.minimum(radius, 1)
    plane = np.sin(polar) / np.maximum(radius, _NONE)
    colours = spin_colours(np.stack([plane * x, plane * y, np.cos(polar)], axis=-1))
    axis.imshow(np.concatenate([colours, (radius <= 1)[..., None]], axis=-1), origin="lower", extent=(-1, 1, -1, 1))
    for text, place in (("x", (1.25, 0)), ("y", (0, 1.25)), ("+z", (0, 0))):
        axis.annotate(text, place, ha="center", va="center", fontsize=8, annotation_clip=False)
    axis.set_axis_off()


def show_magnitude(axis: Axes, values_YX: Floats, title: str) -> None:
    """Draw values (Y, X) that are not negative, and their colour bar."""
    most = float(np.quantile(values_YX, 0.99))
    picture = axis.imshow(values_YX, origin="lower", cmap="magma", vmin=0, vmax=most, interpolation="nearest")
    axis.set_title(title, fontsize=10)
    axis.figure.colorbar(picture, ax=axis, shrink=0.75)
