"""Sweeps over square grids of points."""

from __future__ import annotations

from pathlib import Path

from rayspin.config import build
from rayspin.jobs.tune.job import Tune


def square_grid(data: Path, side: int) -> Tune:
    """Return a sweep over a grid of side x side points."""
    base = {"kind": "train-sr", "dataset": str(data), "network": {"scale": 4}, "training": {"batch_size": 4}}
    rates, noise = ([1e-4 * 1.05**step for step in range(side)], [0.01 * step for step in range(side)])
    return build(
        Tune, {"base": base, "space": {"training.learning_rate": rates, "objective.noise_amplitude": noise}}, ""
    )
