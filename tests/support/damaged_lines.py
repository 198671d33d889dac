"""Lines of JSON without a key of an entry, or with a value of another type."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def damaged_lines(entry: Mapping[str, Any], *keys: str) -> Iterator[str]:
    """Yield an entry as lines, in each of which one of the keys is missing or has a value of another type."""
    for key in keys:
        yield json.dumps({name: value for name, value in entry.items() if name != key})
        for value in (None, {"a": [1]}, [["a"], {}]):
            yield json.dumps({**entry, key: value})


def damage(path: Path, *keys: str, among: Mapping[str, Any] | None = None) -> None:
    """Replace the entries of a file by damaged ones.

    Args:
        path: the file.
        keys: keys of the entries that are missing or damaged in turn.
        among: keys and values of the entries that are replaced; others stay. By default, all are replaced.
    """
    lines = []
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        hit = (among or {}).items() <= entry.items()
        lines += damaged_lines(entry, *keys) if hit else [line]
    path.write_text("".join(line + "\n" for line in [*lines, "{}", "[1]", "5"]))
