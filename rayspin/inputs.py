"""Reading of untrusted files with limits: regular files of limited size, and TOML and JSON of limited depth.

A path given by a user or a job file may refer to anything: an endless pipe, a device, a folder, a loop of links, a
file of gigabytes. The functions of this module read it in bounded time and memory, or raise an `InputError`.
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import tokenize
import tomllib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rayspin.errors import InputError

MAX_DEPTH = 64
"""Maximum nesting depth of tables and lists, and maximum number of parts of a dotted key."""

SETTINGS_BYTES = 2**20
"""Maximum size in bytes of a file written by hand: a job file or a site profile."""

RECORD_BYTES = 2**26
"""Maximum size in bytes of a file written by a run, such as its job, its summary or its training curve."""

DAMAGED_ARRAYS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that NumPy raises for a damaged .npy or .npz file, or for one that has the name of the other format.

A damaged header can give an array of any size (`MemoryError`, `ArithmeticError`), a compression that `zipfile` does not
know (`NotImplementedError`, a `RuntimeError`), or a text that is not Python (`TokenError`).
"""

_INTEGERS = range(-(2**63), 2**63)
"""Integers that TOML guarantees and NetCDF can store."""

_FORMATS = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)

# The time of tomllib for a dotted key grows with the square of the number of its parts.
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}""")


class MissingFileError(InputError):
    """The file does not exist, or what should be its folder is a file."""


class SyntaxInputError(InputError):
    """A text is not valid TOML or JSON."""


def read_bytes(path: Path, *, limit: int, where: str | None = None, remedy: str = "give a regular file") -> bytes:
    """Return the content of a regular file.

    Args:
        path: path of the file. Symbolic links are followed.
        limit: maximum size in bytes.
        where: name of the file in error messages; by default its path.
        remedy: remedy in error messages.

    Raises:
        MissingFileError: the file does not exist.
        InputError: the path is not a regular file (a folder, a pipe, a device, a loop of links), or the file is larger
            than `limit` or cannot be read.
    """
    place = str(path) if where is None else where
    with _opened(path, place, remedy) as descriptor:
        try:
            content = _at_most(descriptor, limit + 1)
        except OSError as error:
            raise InputError(place, f"cannot be read ({_reason(error)})", remedy) from None
    if len(content) > limit:
        raise InputError(place, f"is larger than {limit / 2**20:.3g} MiB", remedy)
    return content


def raw_lines(path: Path, *, limit: int, remedy: str = "give a text file") -> Iterator[bytes]:
    """Yield the lines of a regular file, with their line ends.

    Args:
        path: path of the file.
        limit: maximum length of a line in bytes.
        remedy: remedy in error messages.

    Raises:
        MissingFileError: the file does not exist.
        InputError: the path is not a regular file, or a line is longer than `limit` or cannot be read.
    """
    with _opened(path, str(path), remedy) as descriptor, open(descriptor, "rb", closefd=False) as stream:
        while True:
            try:
                line = stream.readline(limit + 1)
            except OSError as error:
                raise InputError(str(path), f"cannot be read ({_reason(error)})", remedy) from None
            if len(line) > limit:
                raise InputError(str(path), f"has a line of more than {limit / 2**20:.3g} MiB", remedy)
            if not line:
                return
            yield line


@contextmanager
def _opened(path: Path, place: str, remedy: str) -> Iterator[int]:
    """Open a regular file for reading and yield its descriptor."""
    try:
        # O_NONBLOCK, because opening a pipe without a writer would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        # A file in place of the folder has no files either.
        raise MissingFileError(place, "no such file", remedy) from None
    except (OSError, ValueError) as error:
        # A path with a null character raises ValueError.
        raise InputError(place, f"cannot be read ({_reason(error)})", remedy) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise InputError(place, next((text for fits, text in _FORMATS if fits(mode)), "is not a file"), remedy)
        yield descriptor
    finally:
        os.close(descriptor)


def read_text(path: Path, *, limit: int, where: str | None = None, remedy: str = "give a text file") -> str:
    """Return the text of a UTF-8 file, without a byte-order mark and with line ends converted to newlines.

    Args:
        path: path of the file. Symbolic links are followed.
        limit: maximum size in bytes.
        where: name of the file in error messages; by default its path.
        remedy: remedy in error messages.

    Raises:
        MissingFileError: the file does not exist.
        InputError: the file cannot be read as in `read_bytes`, or is not valid UTF-8.
    """
    content = read_bytes(path, limit=limit, where=where, remedy=remedy)
    try:
        # As in `Path.read_text`.
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        place = str(path) if where is None else where
        raise InputError(place, f"not valid UTF-8 (byte {error.start})", remedy) from None


def parse_toml(text: str, where: str, remedy: str = "correct that line") -> dict[str, Any]:
    """Parse a TOML text with at most `MAX_DEPTH` levels and with 64-bit integers.

    Args:
        text: the TOML text.
        where: name of the text in error messages.
        remedy: remedy for a syntax error.

    Raises:
        SyntaxInputError: the text is not valid TOML.
        InputError: it is nested too deeply, or has an integer out of range.
    """
    if _LONG_KEY.search(text):
        raise InputError(where, f"a key of more than {MAX_DEPTH} parts", "use fewer parts")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SyntaxInputError(where, f"not valid TOML: {error}", remedy) from None
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError:
        # Python does not convert integers of thousands of digits.
        raise _too_large(where) from None
    _check_bounds(table, where, integers=True)
    return table


def parse_json(text: str | bytes, where: str, remedy: str = "restore the file as it was written") -> Any:
    """Parse a JSON text with at most `MAX_DEPTH` levels.

    Args:
        text: the JSON text.
        where: name of the text in error messages.
        remedy: remedy for a syntax error.

    Raises:
        SyntaxInputError: the text is not valid JSON, or has an integer of thousands of digits.
        InputError: it is nested too deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:
        raise SyntaxInputError(where, f"not valid JSON: {error}", remedy) from None
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
    """Check depth and integers level by level, because recursion could overflow the stack."""
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
    return InputError(where, f"tables or lists nested more than {MAX_DEPTH} levels deep", "use fewer levels")


def _too_large(where: str) -> InputError:
    return InputError(where, "an integer of more than 64 bits", "use a smaller number")
