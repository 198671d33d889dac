"""Figures of effective fields and their estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rayspin.analysis.figures.curves import show_curves
from rayspin.analysis.figures.spins import show_magnitude, show_spins
from rayspin.analysis.figures.style import Floats, save, sheet


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
        path: the PNG file.
    """
    figure, axes = sheet(2, 5)
    show_spins(axes[0], spins_YXC, "spins")
    show_spins(axes[1], truth_YXC, "direction of the exact field")
    show_spins(axes[2], estimate_YXC, "direction of the estimated field")
    show_magnitude(axes[3], np.linalg.norm(estimate_YXC - truth_YXC, axis=-1), "magnitude of the error (J)")
    show_against(axes[4], truth_YXC, estimate_YXC)
    for axis, (title, spins) in zip(axes[5:9], recursion):
        show_spins(axis, spins, title)
    show_curves(axes[9], energies, "iteration", "energy per site (J)")
    save(figure, path)


def draw_fields(truth_NYXC: Floats, estimates: Mapping[str, Floats], uniform_NYXC: Floats, path: Path) -> None:
    """Plot estimates against the exact field by component, in full and minus the uniform field (2021, Fig. 2b).

    Args:
        truth_NYXC: exact effective fields, J.
        estimates: estimated fields, J, by name; the first one is also plotted in full.
        uniform_NYXC: the field at each spin if all other spins were parallel to it, J.
        path: the PNG file.
    """
    figure = Figure(figsize=(4.8 * (1 + len(estimates)), 4.6), layout="constrained")
    whole, *rest = figure.subplots(1, 1 + len(estimates))
    show_against(whole, truth_NYXC, next(iter(estimates.values())))
    whole.set_title("effective field")
    for axis, (name, estimate_NYXC) in zip(rest, estimates.items()):
        show_against(axis, truth_NYXC - uniform_NYXC, estimate_NYXC - uniform_NYXC)
        axis.set_title(f"{name}, minus the field of uniform spins", fontsize=10)
    save(figure, path)


def show_against(axis: Axes, truth_YXC: Floats, estimate_YXC: Floats) -> None:
    """Plot the estimate against the exact field by component, for every seventh site."""
    axis.set_axis_on()
    for component, (name, colour) in enumerate(zip("xyz", ("tab:red", "tab:green", "tab:blue"))):
        truth, estimate = truth_YXC[..., component].ravel(), estimate_YXC[..., component].ravel()
        axis.plot(truth[::7], estimate[::7], ".", markersize=1, color=colour, label=name, alpha=0.5)
    ends = [float(truth_YXC.min()), float(truth_YXC.max())]
    axis.plot(ends, ends, "k-", linewidth=1)
    axis.set_xlabel("exact field (J)")
    axis.set_ylabel("estimated field (J)")
    axis.legend(markerscale=8, fontsize=8)
