"""Freed memory stays with a process that trains: counted by the pages that the system has to hand out."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from rayspin.training.memory import keeping_freed_memory

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator of Linux's C library")


SITES = 20_000_000
PAGES = 3 * 4 * SITES // resource.getpagesize()
"""What three maps of float32 take."""


def pages_of_a_step() -> int:
    """Pages that this process is given for the three maps: in the best of ten steps, the first cut up the heap."""
    pages = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        maps = [torch.ones(SITES) for _ in range(3)]
        del maps
        pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(pages)


def pages_of_a_kept_step() -> int:
    with keeping_freed_memory():
        return pages_of_a_step()


def pages_in_a_thread() -> int:
    """As Ray Train has it: the training runs in a thread."""
    pages: list[int] = []
    thread = threading.Thread(target=lambda: pages.append(pages_of_a_kept_step()))
    thread.start()
    thread.join()
    return pages[0]


def pages_held() -> int:
    """Pages of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def print_pages() -> None:
    """Of a kept step; held while memory is kept, and afterwards."""
    before = pages_held()
    with keeping_freed_memory():
        taken, kept = pages_of_a_step(), pages_held() - before
    print(taken, kept, pages_held() - before)


def test_a_step_takes_what_the_last_one_freed_and_no_longer_than_asked_for():
    code = "from tests.training.test_memory import print_pages; print_pages()"
    # A process of its own: the heap of this one is cut up by other tests.
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    taken, kept, left = map(int, ended.stdout.split())
    assert taken < PAGES / 10
    assert kept > 0.9 * PAGES
    assert left < PAGES / 10


def test_a_step_in_a_thread_of_a_worker_takes_what_the_last_one_freed(ray_session):
    """That heap of a thread which Ray's workers would have by default is too small for these maps."""
    ray = ray_session.ray()
    # Workers don't have the tests on their path.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    probe = ray.remote(pages_in_a_thread)
    assert ray.get(probe.remote()) < PAGES / 10
