"""Errors that a user can act on: one line, `where: problem; remedy`, and the exit code that goes with it."""

from __future__ import annotations

_LONGEST = 2000


def one_line(text: str) -> str:
    """The text as one line that every terminal prints: control characters as escapes, thousands of characters cut."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return text if text.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shown(value: object) -> str:
    """A value as an error shows it: on one line, cut after 60 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


class RayspinError(Exception):
    """What went wrong, where, and what mends it; printed as `where: problem; remedy`.

    Args:
        where: the file, key, argument or object at fault, as the user wrote it.
        problem: what is wrong with it, with the offending value.
        remedy: what to do about it.
    """

    exit_code = 1

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        # All three are passed on as args, so that the error survives pickling between processes.
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        return f"{one_line(self.where)}: {one_line(self.problem)}; {one_line(self.remedy)}"


class InputError(RayspinError, ValueError):
    """Bad input: a job file, an argument or a file that can't be used. Nothing was written."""

    exit_code = 2


class RunError(RayspinError):
    """A run that could not do its work: what is done is kept, the rest is named."""

    exit_code = 1


class MachineError(RunError):
    """The machine's failure, not the work's: a full disk, a folder that can't be written. No item is charged for it."""


class Incomplete(RayspinError):  # noqa: N818  it is a state, not a fault: asked again, the run goes on
    """A run that stopped before its end on request; the same command resumes it."""

    exit_code = 75
