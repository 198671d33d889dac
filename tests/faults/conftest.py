"""Fixture with the fault injection library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.repository import REPOSITORY


@pytest.fixture(scope="session")
def interpose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library for LD_PRELOAD that injects faults into system calls."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) is installed to build interpose.c")
    library = tmp_path_factory.mktemp("interpose") / "interpose.so"
    source = REPOSITORY / "tests" / "support" / "interpose.c"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library
