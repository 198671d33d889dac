"""`rayspin run` in a process of its own, with a Ray of its own: watched, stopped, killed."""

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
"""A limit for what takes seconds on an idle machine: it ends a test that hangs, and says nothing about speed."""


def environment(**more: str) -> dict[str, str]:
    """The environment of a run that knows nothing of the Ray of this process."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | more


def wait_until(
    condition: Callable[[], object], what: Callable[[], object] = lambda: "", seconds: float = LONG_S
) -> None:
    """Wait for something that must become true; fail with what `what` returns if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Run:
    """A run under way.

    Attributes:
        driver: the process of the command.
        folder: of the run.
    """

    def __init__(self, driver: subprocess.Popen[str], folder: Path) -> None:
        self.driver, self.folder = driver, folder
        self._family: set[psutil.Process] = set()

    def samples(self) -> int:
        """Samples of the dataset that are done."""
        return Catalog.read(self.folder).samples_done

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait for something that must become true while the run goes on."""

        def met() -> bool:
            if condition():
                return True
            assert self.driver.poll() is None, f"the driver ended too early: {self.ended()}"
            return False

        wait_until(met, lambda: "no progress")

    def wait_for_samples(self, more: int) -> None:
        """Wait until so many more samples are done."""
        goal = self.samples() + more
        self.wait_for(lambda: self.samples() >= goal)
        self._family |= set(psutil.Process(self.driver.pid).children(recursive=True))

    def find(self, name: str) -> list[psutil.Process]:
        """Processes of this run whose program has that name; an actor is nameless for a moment between two calls."""
        found = []
        for process in psutil.Process(self.driver.pid).children(recursive=True):
            try:
                if os.path.basename(process.cmdline()[0]).startswith(name):  # noqa: PTH119  the path is not ours
                    found.append(process)
            except (psutil.Error, IndexError):
                continue
        self._family |= set(found)
        return found

    def kill(self, name: str, chance: random.Random) -> psutil.Process | None:
        """SIGKILL one process of that name, or the driver, after a random part of a second; return the process."""
        if name == "driver":
            time.sleep(chance.uniform(0, 0.3))
            self.driver.kill()
            return None
        victims: list[psutil.Process] = []
        self.wait_for(lambda: victims.extend(self.find(name)) or victims)
        time.sleep(chance.uniform(0, 0.3))
        victim = chance.choice(sorted(victims, key=lambda process: process.pid))
        victim.kill()
        return victim

    def ended(self) -> tuple[int, str]:
        """The exit code of the driver and all that it wrote to stderr, once it has ended."""
        try:
            _, said = self.driver.communicate(timeout=LONG_S)
        except subprocess.TimeoutExpired:
            # Shows where each of its threads is.
            self.driver.send_signal(signal.SIGABRT)
            pytest.fail(f"no end after {LONG_S} s:\n{self.driver.communicate()[1]}")
        return self.driver.returncode, said

    def check_gone(self) -> None:
        """Assert that nothing of it runs any more, soon after its driver has ended."""
        wait_until(
            lambda: not [process for process in self._family if alive(process)],
            lambda: [process.cmdline() for process in self._family if alive(process)],
            seconds=60,
        )


@contextmanager
def command(folder: Path, *arguments: object, **variables: str) -> Iterator[Run]:
    """The command line with these arguments; it does not outlive the block."""
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
    """A run of a job in a folder."""
    with command(folder, "run", job_file, "--out", folder, *options, **variables) as run:
        yield run


def finished(job_file: Path, folder: Path, *options: object, **variables: str) -> None:
    """Run a job to its end, which must be a good one."""
    with started(job_file, folder, *options, **variables) as run:
        code, said = run.ended()
        assert code == 0, said
