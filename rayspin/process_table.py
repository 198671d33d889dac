"""The processes of this machine, as the kernel tells of them in /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NAME, STATE, PARENT, START = 1, 2, 3, 21
"""Places of fields in what `stat` returns; the start, in ticks since boot, tells a process from a later namesake."""


def descendants(*roots: int) -> list[int]:
    """Children of these processes, their children, and so on."""
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
    """The command of a process, its arguments between blanks; empty if it is gone."""
    with suppress(OSError):
        return _read(f"/proc/{pid}/cmdline").replace("\0", " ")
    return ""


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat, `NAME` and so on; empty ones if it is gone. A name may be any bytes."""
    with suppress(OSError):
        number, _, rest = _read(f"/proc/{pid}/stat").partition(" (")
        # The name may itself hold brackets and blanks.
        name, _, fields = rest.rpartition(") ")
        return [number, name, *fields.split()]
    return [""] * 22


def _read(path: str) -> str:
    """All of a file of /proc; there are hundreds, and `Path.read_text` takes four times as long."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16).decode(errors="replace")
    finally:
        os.close(descriptor)
