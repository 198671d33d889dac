"""A small dataset of labyrinths, and a dispatcher in the process of the test that can be stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayspin.execution.work_queue import Unfinished
from rayspin.jobs.reconstruct import job, robustness
from tests.support import datasets


@pytest.fixture(scope="package")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labyrinths of 32 x 32, five of them in the split "test"."""
    stage = datasets.labyrinths(8, 32, splits={"test": 5, "validation": 1}, schedule="labyrinth")
    return datasets.make(stage, tmp_path_factory.mktemp("dataset") / "data")


class Dispatcher:
    """Works through at most `most` items in this process, and remembers them."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.most = 100

    def __call__(self, session, stop, worker, arguments, items, on_result):
        made = worker(*arguments)
        for item in items[: self.most]:
            self.done.append(item)
            on_result(item, made.work(item))
        return Unfinished([], list(items[self.most :]))


@pytest.fixture
def dispatcher(monkeypatch: pytest.MonkeyPatch) -> Dispatcher:
    made = Dispatcher()
    for module in (job, robustness):
        monkeypatch.setattr(module, "dispatch", made)
    return made
