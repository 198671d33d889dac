"""Sessions of one process, one after another: forgotten, closed, started again."""

from __future__ import annotations

import subprocess
import sys

from tests.support.runs import LONG_S, environment

CODE = """
import gc
from rayspin.execution.session import Session

def cpus_of_a_session_that_nobody_closes():
    return Session(cpus=1).cpus()

print(cpus_of_a_session_that_nobody_closes())
gc.collect()
# Ray is still there, and is the process's own: a second session takes part in it.
print(cpus_of_a_session_that_nobody_closes())
"""

AGAIN = """
from rayspin.execution.session import Session

for cpus in (1, 2):
    session = Session(cpus=cpus)
    print(session.cpus())
    session.close()
"""


def printed(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_session_that_nobody_closes_lives_as_long_as_the_process() -> None:
    assert printed(CODE) == ["1", "1"]


def test_a_session_may_follow_one_that_was_closed() -> None:
    assert printed(AGAIN) == ["1", "2"]
