"""Layout and files of figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rayspin.rundir import replacing

Floats = npt.NDArray[np.floating[Any]]


def sheet(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with a grid of panels, and the panels by row."""
    figure = Figure(figsize=(2.9 * columns, 3.0 * rows), layout="constrained")
    axes = np.atleast_1d(np.asarray(figure.subplots(rows, columns))).reshape(-1)
    for axis in axes:
        axis.set_axis_off()
    return figure, list(axes)


def save(figure: Figure, path: Path) -> None:
    """Write a figure to a PNG file.

    Raises:
        MachineError: the system refuses to write.
    """
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        # Without time stamps and versions, so that the same data gives the same file.
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
