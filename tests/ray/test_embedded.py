"""Processes of an embedded Ray. Tests that kill them are in tests/faults."""

from __future__ import annotations

import psutil

from rayspin.execution.session import Session
from tests.support.runs import wait_until


def test_ray_starts_no_autoscaler_and_leaves_no_zombies(ray_session: Session) -> None:
    assert ray_session.cpus() == 2

    def unwanted_processes() -> list[str]:
        running = psutil.Process().children(recursive=True)
        commands = {process: " ".join(process.cmdline()) for process in running if process.is_running()}
        assert any("raylet" in command for command in commands.values())
        unwanted = [command for command in commands.values() if "monitor.py" in command]
        return unwanted + [str(process) for process in running if process.status() == psutil.STATUS_ZOMBIE]

    def clean() -> bool:
        try:
            return not unwanted_processes()
        except psutil.NoSuchProcess:
            return False

    wait_until(clean)
