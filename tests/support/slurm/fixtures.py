"""Fixtures with real Slurm clusters, which are checked for remaining jobs, processes and files after each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.runs import wait_until
from tests.support.slurm.lab import BOOT_S, Lab, unsupported_reason

BOOTS = 3
"""Attempts to boot a cluster: now and then a daemon of Slurm does not register with the others."""


def _booted(options: dict[str, bool]) -> Lab:
    for _ in range(BOOTS - 1):
        try:
            return Lab(**options)
        except AssertionError as error:
            print(f"the Slurm cluster was not ready after {BOOT_S:.0f} s and is booted again: {error}")
    return Lab(**options)


class _Labs:
    """Clusters by their options. A cluster that a test may have damaged is booted again, which takes three seconds."""

    def __init__(self) -> None:
        self._booted: dict[tuple[tuple[str, bool], ...], Lab] = {}

    def get(self, **options: bool) -> Lab:
        reason = unsupported_reason()
        if reason is not None:
            # Set in CI, where skipped tests would look like passed tests.
            refuse = pytest.fail if os.environ.get("RAYSPIN_SLURM") == "require" else pytest.skip
            refuse(f"Slurm can't be booted on this machine: {reason}")
        key = tuple(options.items())
        if key not in self._booted:
            # Only one cluster runs at a time, to limit the load of the machine.
            self.shut_down()
            self._booted[key] = _booted(options)
        return self._booted[key]

    def shut_down(self) -> None:
        while self._booted:
            _, lab = self._booted.popitem()
            lab.shut_down()


@pytest.fixture(scope="session")
def labs() -> Iterator[_Labs]:
    labs = _Labs()
    yield labs
    labs.shut_down()


def _checked(lab: Lab, labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Yield a cluster, then assert that it is clean; shut it down if the test failed or damaged it."""
    monkeypatch.setenv("SLURM_CONF", f"{lab.folder}/slurm.conf")
    damaged = True
    try:
        yield lab
        wait_until(lambda: not lab.run("squeue", "--noheader"), lambda: lab.run("squeue"))
        for name in lab.running():
            wait_until(lambda name=name: lab.processes(name) == [], lambda name=name: lab.processes(name))
            left = {path.name for path in (lab.folder / name / "tmp").iterdir()}
            # Compiled kernels are kept for the next job.
            assert left <= {f"rayspin-kernels-{os.getuid()}"}
        damaged = lab.damaged
    finally:
        if damaged:
            labs.shut_down()


@pytest.fixture
def slurm(labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster with accounting. After a test, its nodes must have no jobs, processes or files left."""
    yield from _checked(labs.get(), labs, monkeypatch)


@pytest.fixture
def without_accounting(labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster without accounting, whose sacct and sacctmgr return an error."""
    yield from _checked(labs.get(accounting=False), labs, monkeypatch)


@pytest.fixture
def without_warning(labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster that preempts jobs with SIGTERM instead of the signal they requested, as most clusters do."""
    yield from _checked(labs.get(warning=False), labs, monkeypatch)


@pytest.fixture
def with_accounts(labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster that accepts only jobs of the account "spins"."""
    yield from _checked(labs.get(accounts=True), labs, monkeypatch)
