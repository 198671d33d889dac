"""The curve of a training: the figures of its epochs, and the file that TensorBoard draws them from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from rayspin.inputs import RECORD_BYTES, MissingFileError, parse_json, read_text

METRICS = "metrics.jsonl"
"""The file in a training's folder that holds the figures of its epochs, a line of JSON for each."""

Line = dict[str, float]
"""The figures of one epoch by name."""


def best_epoch(history: Sequence[Line]) -> Line:
    """The figures of the epoch with the lowest validation loss, the first one of equals."""
    return min(history, key=lambda line: line["validation_loss"])


def read_metrics(folder: Path) -> list[Line]:
    """The figures of every finished epoch of the training in `folder`; empty if there is none.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / METRICS
    try:
        lines = read_text(path, limit=RECORD_BYTES).splitlines()
    except MissingFileError:
        return []
    return [parse_json(line, str(path)) for line in lines]


class EventFile:
    """One event file in a training's folder (`tensorboard --logdir runs`), with every figure of every epoch once.

    A process that resumes a training replaces the file by one that starts with the epochs of its checkpoint: what
    the last process wrote beyond them is done again. Their times are set so that TensorBoard's relative time is the
    time trained, without the pauses.

    Args:
        folder: of the training.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._written = 0
        self._clock = 0.0

    def write(self, history: Sequence[Line]) -> None:
        """Add the epochs of a curve that are not in the file yet."""
        if self._writer is None:
            for earlier in self._folder.glob("events.out.tfevents.*"):
                earlier.unlink()
            self._writer = SummaryWriter(str(self._folder))
            self._clock = time.time() - sum(line["seconds"] for line in history)
        for line in history[self._written :]:
            self._clock += line["seconds"]
            for name, value in line.items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, int(line["epoch"]), walltime=self._clock)
        self._written = len(history)
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._writer is not None:
            self._writer.close()
