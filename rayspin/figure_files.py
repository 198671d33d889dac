"""File formats of figures, and the formats that a run writes besides PNG. This module doesn't import matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from rayspin.errors import InputError

SUFFIXES = (".png", ".pdf", ".svg")
"""Suffixes of the files of figures: pixels, and two vector formats."""

VECTOR_FORMATS = ("pdf", "svg")
"""Formats that a run can write besides PNG."""

_also: ContextVar[tuple[str, ...]] = ContextVar("formats of figures besides PNG", default=())


@contextmanager
def figures_also_as(formats: Iterable[str]) -> Iterator[None]:
    """Write every figure of the block in further formats too, beside its own file.

    Args:
        formats: names out of `VECTOR_FORMATS`.
    """
    token = _also.set(tuple(formats))
    try:
        yield
    finally:
        _also.reset(token)


def figure_files(path: Path) -> list[Path]:
    """Return the files that a figure is written to: `path`, and those in the further formats of the block."""
    return list(dict.fromkeys([path, *(path.with_suffix(f".{name}") for name in _also.get())]))


def check_figure_suffix(path: Path) -> None:
    """Check that a figure can be written to a file.

    Raises:
        InputError: its suffix is not in `SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(str(path), "is not a file of a figure", f"give one of {', '.join(SUFFIXES)}")
