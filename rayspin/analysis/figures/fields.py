"""Figures of effective fields and their estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from rayspin.analysis.figures.curves import show_curves
from rayspin.analysis.figures.sheets import draw_sheet
from rayspin.analysis.figures.style import COLUMN_MM, PAGE_MM, Floats, figure_at, letter_panels, line_styles

_EVERY = 7
"""One of so many sites is plotted."""


def draw_estimation(
    spins_YXC: Floats,
    truth_YXC: Floats,
    estimate_YXC: Floats,
    recursion: Sequence[tuple[str, Floats]],
    energies: Mapping[str, Sequence[float]],
    path: Path,
) -> None:
    """Draw a field estimate and the exact field, and below them a recursive process.

    Args:
        spins_YXC: the input spins.
        truth_YXC: their exact effective field, J.
        estimate_YXC: the field estimated by the network, J.
        recursion: (title, spins) of the steps of a recursive process to show, up to four.
        energies: energy per site at each iteration, J, by the name of the curve.
        path: the file.
    """
    pictures = [
        ("spins", spins_YXC),
        ("direction of the exact field", truth_YXC),
        ("direction of the estimated field", estimate_YXC),
        ("magnitude of the error (J)", np.linalg.norm(estimate_YXC - truth_YXC, axis=-1)),
    ]
    plots = [
        partial(_show_against, truth=truth_YXC, estimate=estimate_YXC, title="estimated field against exact field"),
        partial(
            show_curves, curves=energies, labels=("iteration", "energy per site (J)"), title="energy in the recursion"
        ),
    ]
    draw_sheet([pictures, list(recursion)], path, plots)


def draw_fields(truth_NYXC: Floats, estimates: Mapping[str, Floats], uniform_NYXC: Floats, path: Path) -> None:
    """Plot estimates against the exact field by component, in full and minus the uniform field (2021, Fig. 2b).

    Args:
        truth_NYXC: exact effective fields, J.
        estimates: estimated fields, J, by name; the first one is also plotted in full.
        uniform_NYXC: the field at each spin if all other spins were parallel to it, J.
        path: the file.
    """
    first, whole = next(iter(estimates.items()))
    panels = [(f"{first}, effective field", truth_NYXC, whole)]
    panels += [
        (f"{name}, minus the field of uniform spins", truth_NYXC - uniform_NYXC, estimate_NYXC - uniform_NYXC)
        for name, estimate_NYXC in estimates.items()
    ]
    width = PAGE_MM if len(panels) > 2 else COLUMN_MM
    with figure_at(path, width, width / len(panels) + 6) as figure:
        axes = list(figure.subplots(1, len(panels)))
        for axis, (title, truth, estimate) in zip(axes, panels):
            _show_against(axis, truth, estimate, title)
        letter_panels([axes])


def _show_against(axis: Axes, truth: Floats, estimate: Floats, title: str) -> None:
    """Plot the estimate against the exact field by component."""
    for component, (name, style) in enumerate(zip("xyz", line_styles(3))):
        exact, estimated = (values[..., component].ravel()[::_EVERY] for values in (truth, estimate))
        # As pixels in vector files, which would contain a shape for each of many thousands of points.
        style |= {"linestyle": "", "markersize": 0.8, "markeredgewidth": 0, "rasterized": True}
        axis.plot(exact, estimated, **style, label=f"${name}$", alpha=0.5)
    ends = [float(truth.min()), float(truth.max())]
    axis.plot(ends, ends, color="black", linestyle="-", marker="", linewidth=0.6)
    axis.set(xlabel="exact field (J)", ylabel="estimated field (J)", title=title)
    axis.set_box_aspect(1)
    axis.legend(markerscale=6, handlelength=1)
