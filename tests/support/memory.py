"""Pages that the system hands out for the maps of a training step, and those that stay with the process."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import torch

from rayspin.training.memory import keeping_freed_memory

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
