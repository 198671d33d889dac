"""Information about the processes of this machine, read from /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NAME, STATE, PARENT, START = 1, 2, 3, 21
"""Indices of fields in the result of `stat`.

The start time, in clock ticks since boot, distinguishes a process from a later one with the same process ID.
"""


def descendants(*roots: int) -> list[int]:
    """Return the process IDs of the children of these processes, of their children, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := stat(int(entry.name))[PARENT]):
            children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    queue = list(roots)
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def command_line(pid: int) -> str:
    """Return the command line of a process, its arguments separated by spaces; empty if the process does not exist."""
    with suppress(OSError):
        return _read(f"/proc/{pid}/cmdline").replace("\0", " ")
    return ""


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat, indexed by `NAME` etc.; empty strings if the process does not exist."""
    with suppress(OSError):
        number, _, rest = _read(f"/proc/{pid}/stat").partition(" (")
        # The name may itself contain parentheses and spaces.
        name, _, fields = rest.rpartition(") ")
        return [number, name, *fields.split()]
    return [""] * 22


def _read(path: str) -> str:
    """Read a file of /proc. `Path.read_text` takes four times as long, and there are hundreds of these files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16).decode(errors="replace")
    finally:
        os.close(descriptor)
