"""Files from outside, read with bounds: regular files of limited size, and TOML and JSON of limited depth.

A path that a user or a job file names may lead anywhere: to a pipe that never ends, a device, a folder, a loop of
links, a file of gigabytes. What is read through this module takes a bounded time and memory, and whatever is wrong
with it is an `InputError`.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rayspin.errors import InputError

MAX_DEPTH = 64
"""Tables and lists inside each other, and parts of a dotted key: far more than any job has."""

SETTINGS_BYTES = 2**20
"""Of a job file, or a site profile, at most: people write them."""

RECORD_BYTES = 2**26
"""Of a file in which a run keeps what it was asked, how it ended, or its curve, at most."""

_INTEGERS = range(-(2**63), 2**63)
"""What TOML promises, and what NetCDF can store."""

_FORMATS = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)

# The time that tomllib takes grows with the square of the number of parts.
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}""")


class MissingFileError(InputError):
    """There is no such file."""


class SyntaxInputError(InputError):
    """A text that is no TOML or JSON."""


def read_bytes(path: Path, *, limit: int, where: str | None = None, remedy: str = "give a regular file") -> bytes:
    """The content of the regular file at `path`, which may be reached through links.

    Args:
        path: the file.
        limit: the largest size, bytes.
        where: what the user calls the file; by default its path.
        remedy: what to do about a path that can't be read.

    Raises:
        MissingFileError: there is nothing at `path`.
        InputError: it is no regular file (a folder, a pipe, a device, a loop of links), is larger than `limit`, or
            can't be read.
    """
    place = str(path) if where is None else where
    with _opened(path, place, remedy) as descriptor:
        try:
            content = _at_most(descriptor, limit + 1)
        except OSError as error:
            raise InputError(place, f"can't be read ({_reason(error)})", remedy) from None
    if len(content) > limit:
        raise InputError(place, f"is larger than {limit / 2**20:.3g} MiB", remedy)
    return content


def raw_lines(path: Path, *, limit: int, remedy: str = "give a text file") -> Iterator[bytes]:
    """The lines of the regular file at `path`, of at most `limit` bytes each, with their ends; errors as above."""
    with _opened(path, str(path), remedy) as descriptor, open(descriptor, "rb", closefd=False) as stream:
        while True:
            try:
                line = stream.readline(limit + 1)
            except OSError as error:
                raise InputError(str(path), f"can't be read ({_reason(error)})", remedy) from None
            if len(line) > limit:
                raise InputError(str(path), f"has a line of more than {limit / 2**20:.3g} MiB", remedy)
            if not line:
                return
            yield line


@contextmanager
def _opened(path: Path, place: str, remedy: str) -> Iterator[int]:
    """A descriptor of the regular file at `path`, to read."""
    try:
        # To open a pipe without a writer would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MissingFileError(place, "no such file", remedy) from None
    except (OSError, ValueError) as error:
        # A ValueError is a path with a null character in it.
        raise InputError(place, f"can't be read ({_reason(error)})", remedy) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise InputError(place, next((text for fits, text in _FORMATS if fits(mode)), "is no file"), remedy)
        yield descriptor
    finally:
        os.close(descriptor)


def read_text(path: Path, *, limit: int, where: str | None = None, remedy: str = "give a text file") -> str:
    """The text of the UTF-8 file at `path`, without a byte-order mark; arguments and errors as for `read_bytes`.

    Raises:
        MissingFileError: there is nothing at `path`.
        InputError: it can't be read, or is no UTF-8.
    """
    content = read_bytes(path, limit=limit, where=where, remedy=remedy)
    try:
        # Line ends as `Path.read_text` gives them.
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        place = str(path) if where is None else where
        raise InputError(place, f"is no UTF-8 text (byte {error.start})", remedy) from None


def parse_toml(text: str, where: str, remedy: str = "mend that line") -> dict[str, Any]:
    """The tables of a TOML text: at most `MAX_DEPTH` deep, with integers of 64 bits.

    Args:
        text: TOML.
        where: what the user calls it.
        remedy: what to do about a text that is none.

    Raises:
        SyntaxInputError: it is no TOML.
        InputError: it is nested too deep, or has an integer out of range.
    """
    if _LONG_KEY.search(text):
        raise InputError(where, f"a key of more than {MAX_DEPTH} parts", "write fewer")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SyntaxInputError(where, f"no valid TOML: {error}", remedy) from None
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError:
        # Python refuses to convert thousands of digits.
        raise _too_large(where) from None
    _check_bounds(table, where, integers=True)
    return table


def parse_json(text: str | bytes, where: str, remedy: str = "put back the file as it was written") -> Any:
    """The value of a JSON text: at most `MAX_DEPTH` deep.

    Args:
        text: JSON.
        where: what the user calls it.
        remedy: what to do about a text that is none.

    Raises:
        SyntaxInputError: it is no JSON, or has an integer of thousands of digits.
        InputError: it is nested too deep.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:
        raise SyntaxInputError(where, f"no valid JSON: {error}", remedy) from None
    _check_bounds(value, where)
    return value


def _at_most(descriptor: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(descriptor, min(size, 2**20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _check_bounds(value: Any, where: str, *, integers: bool = False) -> None:
    """Without recursion: depth is what is looked for."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if integers and any(isinstance(item, int) and item not in _INTEGERS for item in level):
            raise _too_large(where)
        tables = [item for item in level if isinstance(item, dict | list)]
        if not tables:
            return
        level = [inner for item in tables for inner in (item.values() if isinstance(item, dict) else item)]
    raise _too_deep(where)


def _too_deep(where: str) -> InputError:
    return InputError(where, f"tables or lists inside each other more than {MAX_DEPTH} deep", "write it flatter")


def _too_large(where: str) -> InputError:
    return InputError(where, "an integer of more than 64 bits", "write a smaller one")
