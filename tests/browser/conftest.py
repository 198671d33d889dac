"""A browser, and pages about runs of every kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rayspin.report import write_report
from tests.support import browser as browsers
from tests.support.every_kind import run_every_kind


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """Skip all tests if a part of the browser is missing; fail if RAYSPIN_BROWSER=require."""
    if part := browsers.missing():
        refuse = pytest.fail if os.environ.get("RAYSPIN_BROWSER") == "require" else pytest.skip
        refuse(f"{part} is missing; run tests/support/browser/install.sh")


@pytest.fixture(scope="session")
def browser(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browsers.Browser]:
    """A browser for all tests."""
    with browsers.started(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="session")
def page(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about a pipeline with a stage of every kind."""
    torch.set_num_threads(1)
    folder = run_every_kind(tmp_path_factory.mktemp("runs") / "every", draw=False)
    write_report([folder], folder / "report.html")
    write_report([folder / "train_fcn"], folder / "training.html")
    return folder / "report.html"


@pytest.fixture(scope="session")
def training_page(page: Path) -> Path:
    """The page about the training in that pipeline, which has few charts."""
    return page.with_name("training.html")
