"""A real Slurm for each test here, searched for left-overs after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab import Lab, wait_until, why_not


@contextmanager
def _booted(monkeypatch: pytest.MonkeyPatch, **options: bool) -> Iterator[Lab]:
    reason = why_not()
    if reason is not None:
        # CI sets this: there, tests that skip would look like tests that pass.
        refuse = pytest.fail if os.environ.get("RAYSPIN_SLURM") == "require" else pytest.skip
        refuse(f"no Slurm can be booted here: {reason}")
    lab = Lab(**options)
    monkeypatch.setenv("SLURM_CONF", f"{lab.folder}/slurm.conf")
    try:
        yield lab
    finally:
        lab.shut_down()


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster for one test (three seconds): a node lost in one is no burden to the next. Its jobs leave nothing."""
    with _booted(monkeypatch) as lab:
        yield lab
        wait_until(lambda: not lab.run("squeue", "--noheader"), 60, lambda: lab.run("squeue"))
        for name in lab.running():
            assert lab.processes(name) == []
            assert list((lab.folder / name / "tmp").iterdir()) == []


@pytest.fixture
def without_accounting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster whose sacct and sacctmgr answer with an error."""
    with _booted(monkeypatch, accounting=False) as lab:
        yield lab
