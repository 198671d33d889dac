"""Small datasets, made in the process of the test by the plain functions that workers call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rayspin.config import build
from rayspin.jobs.generate.job import Generate, make_here
from rayspin.rundir import RunDir

SHORT = {"sweeps": 20, "quench_sweeps": 20}
"""A schedule of a millisecond; the fields are smooth, and far from their ground state."""


def labyrinths(samples: int, size: int, **more: Any) -> Generate:
    """A job of labyrinths by the short schedule."""
    table = {"samples": samples, "size": size, "hamiltonian": "labyrinth", "schedule": SHORT, **more}
    return build(Generate, table, "job.toml")


def make(stage: Generate, folder: Path) -> Path:
    """Make the dataset of a job in a folder, without its card; return the folder."""
    with RunDir.at(folder).claimed(stage.identity()):
        make_here(stage, folder)
    return folder


def shards(folder: Path) -> dict[str, bytes]:
    """The bytes of the shards in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*.nc")}


class Poisoned(Generate):
    """A job whose sample 6 can't be annealed."""

    def anneal_sample(self, sample: int) -> np.ndarray:
        if sample == 6:
            raise FloatingPointError("spin 6 diverged")
        return super().anneal_sample(sample)
