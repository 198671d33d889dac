"""Paths as users write them, and commands as they read them."""

from __future__ import annotations

import shlex
from pathlib import Path

from rayspin.errors import InputError


def checked_path(path: Path, where: str) -> Path:
    """The path; nothing need be there, but the system takes it.

    Args:
        path: as a user wrote it.
        where: what it is of, for errors.

    Raises:
        InputError: no path on this machine (too long, a loop of links), or one that may not be looked at.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise _unreachable(path, where, getattr(error, "strerror", None) or str(error)) from None
    return path


def expanded_path(path: Path, where: str) -> Path:
    """The same with the home of a user in place of `~` and `~user`: in files, where no shell does it.

    Raises:
        InputError: as above, or there is no such user.
    """
    try:
        return checked_path(path.expanduser(), where)
    except RuntimeError as error:
        raise _unreachable(path, where, str(error).rstrip(".")) from None


def _unreachable(path: Path, where: str, reason: str) -> InputError:
    return InputError(where, f"{str(path)!r} can't be reached ({reason})", "give another path")


def printable_path(path: Path, where: str) -> Path:
    """The path of a folder to be made, whose name goes into scripts and logs.

    Raises:
        InputError: it has control characters, or bytes that are no UTF-8.
    """
    if not str(path).isprintable():
        raise InputError(where, f"{str(path)!r} has characters that can't be printed", "take another name")
    return path


def command(*words: str | Path) -> str:
    """A command of rayspin's, quoted for the shell, for a user to copy."""
    return shlex.join(["rayspin", *map(str, words)])
