"""Processes that take turns on the cores, since what other tenants do to a machine lasts longer than a turn."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from typing import Any

import psutil


class ProcessTree:
    """A process and all that it starts, an embedded Ray as well: they can be made to stand still.

    Args:
        target: the function of the process, of a module.
        arguments: what it is called with.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        self._process = get_context("spawn").Process(target=target, args=arguments)
        self._process.start()
        self._members: list[psutil.Process] = []

    @property
    def alive(self) -> bool:
        """Whether the process has not come to its end."""
        return self._process.is_alive()

    def pause(self) -> None:
        """Let all stand still."""
        top = psutil.Process(self._process.pid)
        self._members = [top, *top.children(recursive=True)]
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let all go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Let it come to its end, which must be a good one."""
        self.resume()
        self._process.join()
        assert self._process.exitcode == 0

    def _signal(self, number: int) -> None:
        for process in self._members:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
