"""A small dataset of labyrinths, and a dispatcher in the process of the test that can be stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayspin.jobs.reconstruct import job, robustness
from tests.support import datasets
from tests.support.dispatcher import Dispatcher


@pytest.fixture(scope="package")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labyrinths of 32 x 32, five of them in the split "test"."""
    stage = datasets.labyrinths(8, 32, splits={"test": 5, "validation": 1}, schedule="labyrinth")
    return datasets.make(stage, tmp_path_factory.mktemp("dataset") / "data")


@pytest.fixture
def dispatcher(monkeypatch: pytest.MonkeyPatch) -> Dispatcher:
    made = Dispatcher()
    for module in (job, robustness):
        monkeypatch.setattr(module, "dispatch", made)
    return made
