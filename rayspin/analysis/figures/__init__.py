"""Figures of spins, fields and runs, in the style and the sizes of journals; the only package that uses matplotlib."""

from rayspin.analysis.figures.curves import (
    Distribution,
    draw_curves,
    draw_distributions,
    draw_histogram,
    draw_measurements,
    draw_reliability,
)
from rayspin.analysis.figures.fields import draw_estimation, draw_fields
from rayspin.analysis.figures.pictures import Panel, draw_application, draw_experiment, draw_resolution, draw_samples
from rayspin.analysis.figures.spins import every, spin_colors
from rayspin.analysis.figures.style import Floats, suits_log
from rayspin.analysis.figures.sweeps import draw_bests, draw_parallel, draw_sweep_curves
from rayspin.analysis.figures.tables import draw_heat_map, draw_phase_diagram

__all__ = [
    "Distribution",
    "Floats",
    "Panel",
    "draw_application",
    "draw_bests",
    "draw_curves",
    "draw_distributions",
    "draw_estimation",
    "draw_experiment",
    "draw_fields",
    "draw_heat_map",
    "draw_histogram",
    "draw_measurements",
    "draw_parallel",
    "draw_phase_diagram",
    "draw_reliability",
    "draw_resolution",
    "draw_samples",
    "draw_sweep_curves",
    "every",
    "spin_colors",
    "suits_log",
]
