"""What all unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rayspin.execution.session import Session


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, and the other core has tests of its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="session")
def no_ray() -> Iterator[None]:
    """Whatever starts Ray belongs to another tier."""

    def refuse(_: Session) -> None:
        raise AssertionError("a unit test starts Ray")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "_start", refuse)
        yield
