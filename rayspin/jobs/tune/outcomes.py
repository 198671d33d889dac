"""Outcomes of the segments of a trial. Workers return them to the driver as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Figures: TypeAlias = dict[str, float]
"""Metrics of a trial by name."""


@dataclass(frozen=True)
class Finished:
    """The segment reached its end, or the training ended earlier because its patience was exhausted.

    Attributes:
        figures: metrics of the trial at the end of the segment.
        epochs: total number of epochs (or samples) done.
        seconds: wall time of the segment, s.
        host: host name of the worker.
    """

    figures: Figures
    epochs: int
    seconds: float
    host: str


@dataclass(frozen=True)
class Failed:
    """The trial raised an exception, or its worker was lost too often.

    Attributes:
        error: type and message of the exception.
        hopeless: whether another attempt would fail in the same way; such a trial is not retried.
        seconds: wall time of the segment, s; None if its worker was lost.
        host: host name of the worker; empty if it was lost.
    """

    error: str
    hopeless: bool
    seconds: float | None = None
    host: str = ""


@dataclass(frozen=True)
class Refused:
    """The machine failed, for example because of a full disk. The failure is not counted against the trial.

    The attributes are the arguments of a `MachineError`.

    Attributes:
        where: folder that could not be written.
        problem: error of the operating system.
        remedy: what to do about it.
    """

    where: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class Stopped:
    """A stop was requested before the end of the segment."""


Outcome: TypeAlias = Finished | Failed | Refused | Stopped

_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in (Finished, Failed, Refused, Stopped)}


def encode(outcome: Outcome) -> str:
    """Return the outcome as JSON."""
    return json.dumps([type(outcome).__name__, asdict(outcome)])


def decode(text: str) -> Outcome:
    """Return the outcome that `encode` serialized."""
    kind, fields = json.loads(text)
    outcome: Outcome = _TYPES[kind](**fields)
    return outcome
