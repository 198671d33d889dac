"""How a segment of a trial ended: one type for each way, which travel from workers to the driver as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Figures: TypeAlias = dict[str, float]
"""Figures of a trial by name."""


@dataclass(frozen=True)
class Finished:
    """The segment ran to its end, or the trial ended before it by its own rule of patience.

    Attributes:
        figures: the trial's figures by then.
        epochs: epochs (or samples) that were done.
        seconds: wall time of the segment.
        host: where it ran.
    """

    figures: Figures
    epochs: int
    seconds: float
    host: str


@dataclass(frozen=True)
class Failed:
    """The trial raised an exception, or its worker was lost too often.

    Attributes:
        error: type and message.
        hopeless: whether another attempt would fail in the same way.
        seconds: wall time of the segment; None if its worker was lost.
        host: where it ran; empty if its worker was lost.
    """

    error: str
    hopeless: bool
    seconds: float | None = None
    host: str = ""


@dataclass(frozen=True)
class Refused:
    """The machine failed, by a full disk for example, and no trial is to blame; the arguments of a `MachineError`."""

    where: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class Stopped:
    """A stop was requested before the end of the segment."""


Outcome: TypeAlias = Finished | Failed | Refused | Stopped

_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in (Finished, Failed, Refused, Stopped)}


def encode(outcome: Outcome) -> str:
    """The outcome as JSON."""
    return json.dumps([type(outcome).__name__, asdict(outcome)])


def decode(text: str) -> Outcome:
    """The outcome that `encode` wrote."""
    kind, fields = json.loads(text)
    outcome: Outcome = _TYPES[kind](**fields)
    return outcome
