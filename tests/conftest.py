"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rayspin.cluster.session import Session


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Session]:
    """One embedded Ray with two CPUs for all tests that need one: it takes five seconds to start."""
    session = Session(cpus=2)
    session.ray()
    yield session
    session.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the session is marked so, whatever fixture it comes by."""
    for item in items:
        if "ray_session" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ray)
