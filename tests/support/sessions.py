"""Fixtures of an embedded Ray that is shared by all tests of a tier."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rayspin.execution.session import Session
from rayspin.job import Context


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Session]:
    """An embedded Ray with two CPUs. It takes seconds to start."""
    session = Session(cpus=2)
    session.ray()
    yield session
    session.close()


@pytest.fixture
def context(ray_session: Session) -> Context:
    return Context(ray_session)
