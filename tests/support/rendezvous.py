"""Operation of a rendezvous host in the process of a test."""

from __future__ import annotations

import time
from collections.abc import Callable

from rayspin.launch.rendezvous import Host

LOCALHOST = "127.0.0.1"


def turn_until(host: Host, condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Let the host process messages until a condition holds; fail after `seconds` seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        host.turn(0.02)
