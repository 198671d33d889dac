"""A run of every kind, and the page about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayspin.report import write_report
from tests.support.every_kind import run_every_kind
from tests.support.html_pages import Page


@pytest.fixture(scope="package")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline with a stage of every kind. Tests must not change it."""
    return run_every_kind(tmp_path_factory.mktemp("runs") / "every", draw=False)


@pytest.fixture(scope="package")
def page(every_kind: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page about this run."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert write_report([every_kind], out)
    return Page(out.read_text())
