"""Fixtures of all unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rayspin.execution.session import Session


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Use one thread: the networks are too small to benefit from more, and other cores run other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="session")
def no_ray() -> Iterator[None]:
    """Fail tests that start Ray, which belong to another tier."""

    def refuse(_: Session) -> None:
        raise AssertionError("a unit test starts Ray")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "_start", refuse)
        yield
