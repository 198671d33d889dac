"""What tests of faults share."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.repository import REPOSITORY


@pytest.fixture(scope="session")
def interpose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that puts faults into system calls, for LD_PRELOAD."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build interpose.c with")
    library = tmp_path_factory.mktemp("interpose") / "interpose.so"
    source = REPOSITORY / "tests" / "support" / "interpose.c"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library
