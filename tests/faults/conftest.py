"""What every test of faults needs: the interposed library, a small dataset made in peace, patience."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOAK = int(os.environ.get("RAYSPIN_SOAK", "1"))
"""How many times as long the seeded tests go on."""


@pytest.fixture(scope="session")
def interpose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that puts faults into system calls, for LD_PRELOAD."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build interpose.c with")
    library = tmp_path_factory.mktemp("interpose") / "interpose.so"
    source = Path(__file__).with_name("interpose.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def soak() -> int:
    return SOAK
