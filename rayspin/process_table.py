"""The processes of this machine, as the kernel tells of them in /proc."""

from __future__ import annotations

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


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat, `NAME` and so on; empty ones if it is gone. A name may be any bytes."""
    with suppress(OSError):
        number, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").partition(" (")
        # The name may itself hold brackets and blanks.
        name, _, fields = rest.rpartition(") ")
        return [number, name, *fields.split()]
    return [""] * 22
