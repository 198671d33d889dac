"""Labyrinths annealed by the schedule that the reference figures were measured with."""

import pytest

from rayspin.physics import LABYRINTH, AnnealSchedule, anneal_many


@pytest.fixture(scope="session")
def labyrinths():
    """100 of the papers' Type I fields, (100, 128, 128, 3): as many as the figures are of; 16 scatter too much."""
    schedule = AnnealSchedule(
        start_temperature=1.2, end_temperature=0.01, sweeps=1000, quench_sweeps=1000, quench_overshoot=0.0
    )
    return anneal_many(LABYRINTH, 128, schedule, [(77, sample) for sample in range(100)])
