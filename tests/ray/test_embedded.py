"""The processes beside an embedded Ray; its deaths are in tests/faults."""

from __future__ import annotations

import os
import subprocess
import sys

from rayspin.execution.session import Session
from rayspin.process_table import NAME, STATE, command_line, descendants, stat
from tests.support.runs import wait_until


def test_what_ray_starts_for_nobody_does_not_run(ray_session: Session) -> None:
    assert ray_session.cpus() == 2

    def left() -> list[str]:
        """What is not wanted, and what has ended without a parent that takes notice."""
        running = {pid: command_line(pid) for pid in descendants(os.getpid())}
        assert any("raylet" in command for command in running.values())
        unwanted = [command for command in running.values() if "monitor.py" in command or "dashboard.py" in command]
        return unwanted + [str(stat(pid)) for pid in running if stat(pid)[STATE] == "Z"]

    wait_until(lambda: not left(), left)


def test_names_of_processes_may_be_any_bytes() -> None:
    """The kernel cuts them after 15 bytes, in the middle of a letter too."""
    code = "import sys; open('/proc/self/comm', 'wb').write(b') \\xff('); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert stat(process.pid)[NAME] == ") \ufffd("
        process.communicate()
