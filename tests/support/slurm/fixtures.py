"""A real Slurm for the tests here, searched for left-overs after each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.runs import wait_until
from tests.support.slurm.lab import Lab, why_not


class _Labs:
    """Clusters by their options; one that a test may have harmed is booted anew (three seconds) for the next."""

    def __init__(self) -> None:
        self._booted: dict[tuple[tuple[str, bool], ...], Lab] = {}

    def get(self, **options: bool) -> Lab:
        reason = why_not()
        if reason is not None:
            # CI sets this: there, tests that skip would look like tests that pass.
            refuse = pytest.fail if os.environ.get("RAYSPIN_SLURM") == "require" else pytest.skip
            refuse(f"no Slurm can be booted here: {reason}")
        key = tuple(options.items())
        if key not in self._booted:
            # One at a time is enough for the machine.
            self.shut_down()
            self._booted[key] = Lab(**options)
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


def _lent(lab: Lab, labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("SLURM_CONF", f"{lab.folder}/slurm.conf")
    harmed = True
    try:
        yield lab
        wait_until(lambda: not lab.run("squeue", "--noheader"), lambda: lab.run("squeue"))
        for name in lab.running():
            wait_until(lambda name=name: lab.processes(name) == [], lambda name=name: lab.processes(name))
            left = {path.name for path in (lab.folder / name / "tmp").iterdir()}
            # Compiled kernels stay for the next job.
            assert left <= {f"rayspin-kernels-{os.getuid()}"}
        harmed = lab.harmed
    finally:
        if harmed:
            labs.shut_down()


@pytest.fixture
def slurm(labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster with accounting. A test leaves no job, no process and no file on its nodes."""
    yield from _lent(labs.get(), labs, monkeypatch)


@pytest.fixture
def without_accounting(labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster whose sacct and sacctmgr answer with an error."""
    yield from _lent(labs.get(accounting=False), labs, monkeypatch)


@pytest.fixture
def without_warning(labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster, as most are, that preempts jobs with SIGTERM and no signal of their choice."""
    yield from _lent(labs.get(warning=False), labs, monkeypatch)


@pytest.fixture
def with_accounts(labs: _Labs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster that takes jobs of the account "spins" only."""
    yield from _lent(labs.get(accounts=True), labs, monkeypatch)
