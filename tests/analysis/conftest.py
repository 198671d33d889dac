"""Labyrinths annealed by the schedule that the reference figures were measured with."""

import numpy as np
import pytest

from rayspin.physics import LABYRINTH, AnnealSchedule, anneal


@pytest.fixture(scope="session")
def labyrinths():
    """16 of the papers' Type I fields, (16, 128, 128, 3)."""
    schedule = AnnealSchedule(start_temperature=1.2, end_temperature=0.01, sweeps=1000, quench_sweeps=1000)
    return np.stack([anneal(LABYRINTH, size=128, schedule=schedule, seed=(77, sample)) for sample in range(16)])
