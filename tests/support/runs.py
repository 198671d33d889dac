"""Starting, observing, stopping and killing `rayspin run` in a separate process with its own Ray."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from rayspin.storage import Catalog

LONG_S = 240.0
"""Timeout in seconds of operations that take seconds on an idle machine; it only ends tests that hang."""


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a run, without the variables of the Ray of this process."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | more


def wait_until(
    condition: Callable[[], object], message: Callable[[], object] = lambda: "", seconds: float = LONG_S
) -> None:
    """Wait until a condition holds; fail after `seconds` seconds with the result of `message`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message()
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    """Return whether a process is running and not a zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Run:
    """A run in progress.

    Attributes:
        driver: the process of the command.
        folder: the folder of the run.
    """

    def __init__(self, driver: subprocess.Popen[str], folder: Path) -> None:
        self.driver, self.folder = driver, folder
        self._family: set[psutil.Process] = set()

    def samples(self) -> int:
        """Return the number of finished samples of the dataset."""
        return Catalog.read(self.folder).samples_done

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; fail if the driver ends first."""

        def met() -> bool:
            if condition():
                return True
            assert self.driver.poll() is None, f"the driver ended too early: {self.wait()}"
            return False

        wait_until(met, lambda: "no progress")

    def wait_for_samples(self, more: int) -> None:
        """Wait until `more` more samples are finished."""
        goal = self.samples() + more
        self.wait_for(lambda: self.samples() >= goal)
        self._family |= set(psutil.Process(self.driver.pid).children(recursive=True))

    def find(self, name: str) -> list[psutil.Process]:
        """Return the processes of this run with that name. Between two calls an actor briefly has no name."""
        found = []
        for process in psutil.Process(self.driver.pid).children(recursive=True):
            try:
                if os.path.basename(process.cmdline()[0]).startswith(name):  # noqa: PTH119  the path is not ours
                    found.append(process)
            except (psutil.Error, IndexError):
                continue
        self._family |= set(found)
        return found

    def kill(self, name: str, rng: random.Random) -> psutil.Process | None:
        """Kill a process of that name, or the driver, after up to 0.3 s; return the process, or None for the driver."""
        if name == "driver":
            time.sleep(rng.uniform(0, 0.3))
            self.driver.kill()
            return None
        victims: list[psutil.Process] = []
        self.wait_for(lambda: victims.extend(self.find(name)) or victims)
        time.sleep(rng.uniform(0, 0.3))
        victim = rng.choice(sorted(victims, key=lambda process: process.pid))
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return self.kill(name, rng)
        return victim

    def wait(self) -> tuple[int, str]:
        """Wait until the driver ends, and return its exit code and its standard error."""
        try:
            _, stderr = self.driver.communicate(timeout=LONG_S)
        except subprocess.TimeoutExpired:
            # faulthandler then prints the traceback of each thread.
            self.driver.send_signal(signal.SIGABRT)
            pytest.fail(f"no end after {LONG_S} s:\n{self.driver.communicate()[1]}")
        return self.driver.returncode, stderr

    def check_processes_ended(self) -> None:
        """Assert that all processes of the run end soon after the driver."""
        wait_until(
            lambda: not [process for process in self._family if alive(process)],
            lambda: [process.cmdline() for process in self._family if alive(process)],
            seconds=60,
        )


@contextmanager
def command(folder: Path, *arguments: object, **variables: str) -> Iterator[Run]:
    """Start the command line with these arguments; kill it at the end of the block."""
    line = [sys.executable, "-X", "faulthandler", "-m", "rayspin", *map(str, arguments)]
    with subprocess.Popen(
        line, env=environment(**variables), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as driver:
        try:
            yield Run(driver, folder)
        finally:
            driver.kill()


@contextmanager
def started(job_file: Path, folder: Path, *options: object, **variables: str) -> Iterator[Run]:
    """Start a run of a job in a folder; kill it at the end of the block."""
    with command(folder, "run", job_file, "--out", folder, *options, **variables) as run:
        yield run


def finished(job_file: Path, folder: Path, *options: object, **variables: str) -> None:
    """Run a job and assert that it succeeds."""
    with started(job_file, folder, *options, **variables) as run:
        code, stderr = run.wait()
        assert code == 0, stderr
