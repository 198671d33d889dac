"""Running of a file of benchmarks in a separate pytest, as by `make bench` but without timing."""

from __future__ import annotations

import subprocess
import sys

from tests.support.repository import REPOSITORY
from tests.support.runs import LONG_S, environment

_FOLDER = REPOSITORY / "tests" / "benchmarks"

BENCHMARKS = sorted(path.name for path in _FOLDER.glob("test_*_speed.py"))
"""File names of the benchmarks that run on one machine."""


def smoke_run(name: str) -> None:
    """Run a file of benchmarks once, with small sizes."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(_FOLDER / name)]
    done = subprocess.run(
        [*command, "--benchmark-disable"],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
