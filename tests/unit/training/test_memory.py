"""Freed memory stays with a process that trains: counted by the pages that the system has to hand out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.memory import PAGES
from tests.support.repository import REPOSITORY

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator of Linux's C library")


def test_a_step_takes_what_the_last_one_freed_and_no_longer_than_asked_for():
    code = "from tests.support.memory import print_pages; print_pages()"
    # A process of its own: the heap of this one is cut up by other tests.
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    taken, kept, left = map(int, ended.stdout.split())
    assert taken < PAGES / 10
    assert kept > 0.9 * PAGES
    assert left < PAGES / 10
