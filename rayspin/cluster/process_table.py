"""The processes of this machine, as the kernel tells of them in /proc."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def descendants(*roots: int) -> list[int]:
    """Children of these processes, their children, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := stat(int(entry.name))[3]):
            children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    queue = list(roots)
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat, counted from 0 (1: name, 2: state, 3: parent, 21: start); empty ones if it is gone."""
    with suppress(OSError):
        number, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").partition(" (")
        # The name may itself hold brackets and blanks.
        name, _, fields = rest.rpartition(") ")
        return [number, name, *fields.split()]
    return [""] * 22
