"""Checks of paths given by users, and quoting of commands shown to them."""

from __future__ import annotations

import shlex
from pathlib import Path

from rayspin.errors import InputError


def checked_path(path: Path, where: str) -> Path:
    """Return the path after checking that it is valid on this machine. It need not exist.

    Args:
        path: the path as the user wrote it.
        where: the option, key or path, for error messages.

    Raises:
        InputError: the path is invalid (too long, a loop of links), or access to it is denied.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise _unreachable(path, where, getattr(error, "strerror", None) or str(error)) from None
    return path


def expanded_path(path: Path, where: str) -> Path:
    """Return the checked path with `~` and `~user` expanded; for paths in files, which no shell has expanded.

    Raises:
        InputError: as for `checked_path`, or the user does not exist.
    """
    try:
        return checked_path(path.expanduser(), where)
    except RuntimeError as error:
        raise _unreachable(path, where, str(error).rstrip(".")) from None


def _unreachable(path: Path, where: str, reason: str) -> InputError:
    return InputError(where, f"{str(path)!r} cannot be accessed ({reason})", "give another path")


def printable_path(path: Path, where: str) -> Path:
    """Return the path of a folder to create after checking that it can be written to scripts and logs.

    Raises:
        InputError: the path has control characters, or bytes that are not valid UTF-8.
    """
    if not str(path).isprintable():
        raise InputError(where, f"{str(path)!r} has characters that cannot be printed", "use another name")
    return path


def command(*words: str | Path) -> str:
    """Return a `rayspin` command with its arguments quoted for the shell, to be shown to the user."""
    return shlex.join(["rayspin", *map(str, words)])
