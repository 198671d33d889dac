"""Operation of a rendezvous host in the process of a test."""

from __future__ import annotations

from collections.abc import Callable

from rayspin.launch.rendezvous import Host
from tests.support.runs import wait_until

LOCALHOST = "127.0.0.1"


def turn_until(host: Host, condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Let the host process messages until a condition holds; fail after `seconds` seconds."""
    # `turn` returns True.
    wait_until(lambda: condition() or not host.turn(0.02), seconds=seconds)
