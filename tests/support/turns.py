"""Benchmark processes that alternate on the cores, so that other load on the machine affects all of them equally."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from typing import Any

import psutil


class ProcessTree:
    """A process with all its descendants, including an embedded Ray, that can be paused and resumed.

    Args:
        target: the function to run, which must be importable from a module.
        arguments: its arguments.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        self._process = get_context("spawn").Process(target=target, args=arguments)
        self._process.start()
        self._members: list[psutil.Process] = []

    @property
    def alive(self) -> bool:
        """Whether the process is running or paused."""
        return self._process.is_alive()

    def pause(self) -> None:
        """Pause the process and its descendants."""
        top = psutil.Process(self._process.pid)
        self._members = [top, *top.children(recursive=True)]
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the process and its descendants."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Wait until the process ends, and assert that it succeeds."""
        self.resume()
        self._process.join()
        assert self._process.exitcode == 0

    def _signal(self, number: int) -> None:
        for process in self._members:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
