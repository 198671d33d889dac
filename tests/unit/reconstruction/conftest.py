"""Annealed fields, which all tests of reconstruction share."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics import anneal


@pytest.fixture(scope="session")
def labyrinths():
    """Three annealed labyrinths, (3, 64, 64, 3)."""
    return np.stack([anneal("labyrinth", 64, seed=(2101, sample)) for sample in range(3)])


@pytest.fixture(scope="session")
def domains():
    """Two annealed fields of domains, (2, 64, 64, 3)."""
    return np.stack([anneal("domain", 64, seed=(2102, sample)) for sample in range(2)])
