"""Errors that a user can act on, reported in one line as `where: problem; remedy`, with the exit code of each."""

from __future__ import annotations

_LONGEST = 2000


def one_line(text: str) -> str:
    """Return the text on one printable line: control characters escaped, and the middle of a long text omitted."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shown(value: object) -> str:
    """Return the `repr` of a value for an error message: on one line, cut after 60 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


class RayspinError(Exception):
    """Base of all errors of rayspin, printed as `where: problem; remedy`.

    Args:
        where: the file, key, argument or object at fault, as the user wrote it.
        problem: what is wrong with it, including the offending value.
        remedy: what to do about it.

    Attributes:
        exit_code: exit code of the command that raised the error.
    """

    exit_code = 1

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        # The error is pickled with `args` when it is sent between processes, so they must be all three arguments.
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        return f"{one_line(self.where)}: {one_line(self.problem)}; {one_line(self.remedy)}"


class InputError(RayspinError, ValueError):
    """A job file, an argument or a file is invalid. Nothing was written."""

    exit_code = 2


class RunError(RayspinError):
    """A run failed. Finished work is kept, and the message names what is missing."""

    exit_code = 1


class MachineError(RunError):
    """The machine failed, not the work: a full disk, or a folder that cannot be written.

    It does not count as a failed attempt of the item that was processed.
    """


class Incomplete(RayspinError):  # noqa: N818  a state rather than an error: the run can be resumed
    """A run stopped on request before its end. The same command resumes it."""

    exit_code = 75
