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
import signal
from rayspin.execution.session import Session

def caught():
    [mask] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("SigCgt")]
    return bool(int(mask, 16) & 1 << signal.SIGTERM - 1)

handler = lambda *_: None
signal.signal(signal.SIGTERM, handler)
for cpus in (1, 2):
    session = Session(cpus=cpus)
    print(session.cpus(), caught())
    session.close()
    print(caught(), signal.getsignal(signal.SIGTERM) is handler)
"""


def output_lines(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_unclosed_session_lives_as_long_as_the_process() -> None:
    assert output_lines(UNCLOSED) == ["1", "1"]


def test_session_can_start_after_another_one_was_closed_and_neither_takes_the_handler_of_sigterm() -> None:
    # Ray's C++ code would replace the handler when it connects, and reset it when it disconnects.
    assert output_lines(CLOSED) == ["1 True", "True True", "2 True", "True True"]
