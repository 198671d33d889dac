"""Successive sessions in one process, closed and not closed."""

from __future__ import annotations

import subprocess
import sys

from tests.support.runs import LONG_S, environment

UNCLOSED = """
import gc
from rayspin.execution.session import Session

def cpus_of_an_unclosed_session():
    return Session(cpus=1).cpus()

print(cpus_of_an_unclosed_session())
gc.collect()
# Ray is still running in this process, and the second session uses it.
print(cpus_of_an_unclosed_session())
"""

CLOSED = """
from rayspin.execution.session import Session

for cpus in (1, 2):
    session = Session(cpus=cpus)
    print(session.cpus())
    session.close()
"""


def output_lines(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_unclosed_session_lives_as_long_as_the_process() -> None:
    assert output_lines(UNCLOSED) == ["1", "1"]


def test_session_can_start_after_another_one_was_closed() -> None:
    assert output_lines(CLOSED) == ["1", "2"]
