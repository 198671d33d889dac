"""A dataset of annealed labyrinths, large enough for views of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import datasets


@pytest.fixture(scope="package")
def labyrinths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labyrinths of 128 x 128 sites in the split "test"."""
    schedule = {"sweeps": 300, "quench_sweeps": 100}
    stage = datasets.labyrinths(2, 128, schedule=schedule, splits={"test": 2, "validation": 0})
    return datasets.make(stage, tmp_path_factory.mktemp("labyrinths") / "data")
