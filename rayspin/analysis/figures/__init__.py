"""Figures of spins, fields and runs; the only package that uses matplotlib."""

from rayspin.analysis.figures.curves import draw_curves, draw_histogram, draw_measurements, draw_reliability
from rayspin.analysis.figures.experiments import Distribution, Panel, draw_distributions, draw_experiment
from rayspin.analysis.figures.fields import draw_estimation, draw_fields
from rayspin.analysis.figures.spins import draw_application, draw_resolution, draw_samples, spin_colours
from rayspin.analysis.figures.style import Floats
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
    "spin_colours",
]
