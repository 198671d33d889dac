"""The C library's allocator, as training on a CPU wants it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# malloc.h of glibc: parameters of mallopt, and the values they have by default.
_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT, _NEVER_TRIM = -1, 128 * 1024, -1
_MMAP_MAX, _MMAP_MAX_DEFAULT = -4, 65536


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """While inside, memory that is freed stays with this process, and the next step of a training takes it again.

    Left alone, glibc returns large blocks to the system at once. Every step has the same maps to store, so it took
    them as new pages each time, which the system has to find and clear: with 64 fields of 128 x 128 a quarter of the
    step, with 400 three fifths, on the virtual machine where it was measured. With 400 the process came to hold a
    quarter more. Other C libraries are left as they are.
    """
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _MMAP_MAX_DEFAULT)
        library.mallopt(_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT)
        library.malloc_trim(0)
