"""The heap of a thread of Ray's workers is large enough for the maps of a training step."""

from __future__ import annotations

import sys

import pytest

from rayspin.execution.session import Session
from tests.support import memory

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator of Linux's C library")


def test_a_step_in_a_thread_of_a_worker_takes_what_the_last_one_freed(ray_session: Session) -> None:
    """That heap of a thread which Ray's workers would have by default is too small for these maps."""
    ray = ray_session.ray()
    # Workers don't have the tests on their path.
    ray.cloudpickle.register_pickle_by_value(memory)
    probe = ray.remote(memory.pages_in_a_thread)
    assert ray.get(probe.remote()) < memory.PAGES / 10
