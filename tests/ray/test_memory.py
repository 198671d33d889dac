"""Training steps in a thread of a Ray worker reuse freed memory."""

from __future__ import annotations

import sys

import pytest

from rayspin.execution.session import Session
from tests.support import memory

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="requires the allocator of Linux's C library"
)


def test_step_in_a_worker_thread_reuses_freed_memory(ray_session: Session) -> None:
    """By default the heap of such a thread is too small for these maps."""
    ray = ray_session.ray()
    # Ray's workers cannot import the tests.
    ray.cloudpickle.register_pickle_by_value(memory)
    probe = ray.remote(memory.pages_in_a_thread)
    assert ray.get(probe.remote()) < memory.PAGES / 10
