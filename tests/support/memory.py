"""Numbers of memory pages that the system allocates for the maps of a training step and that the process keeps."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import torch

from rayspin.training.memory import keeping_freed_memory

SITES = 20_000_000
PAGES = 3 * 4 * SITES // resource.getpagesize()
"""Number of pages of three float32 maps."""


def pages_of_a_step() -> int:
    """Return the number of pages allocated for three maps: the minimum of ten steps, as the first fragment the heap."""
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
    """Return the pages of a step in a thread, as Ray Train runs the training."""
    pages: list[int] = []
    thread = threading.Thread(target=lambda: pages.append(pages_of_a_kept_step()))
    thread.start()
    thread.join()
    return pages[0]


def pages_held() -> int:
    """Return the number of resident memory pages of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def print_pages() -> None:
    """Print the pages of a step that keeps memory, the pages kept during it, and the pages kept afterwards."""
    before = pages_held()
    with keeping_freed_memory():
        taken, kept = pages_of_a_step(), pages_held() - before
    print(taken, kept, pages_held() - before)
