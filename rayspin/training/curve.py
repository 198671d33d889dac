"""The metrics of a training's epochs, as JSON lines and as an event file for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from rayspin.inputs import RECORD_BYTES, MissingFileError, parse_json, read_text

METRICS = "metrics.jsonl"
"""Name of the file with the metrics of a training, one JSON line per epoch."""

Line = dict[str, float]
"""The metrics of one epoch by name."""


def best_epoch(history: Sequence[Line]) -> Line:
    """The metrics of the epoch with the lowest validation loss; of equal epochs, the first."""
    return min(history, key=lambda line: line["validation_loss"])


def read_metrics(folder: Path) -> list[Line]:
    """Read the metrics of every finished epoch; the list is empty if there are none.

    Args:
        folder: the folder of the training.

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
    """A TensorBoard event file with the metrics of each epoch (`tensorboard --logdir runs`).

    A process that resumes a training replaces the file, since epochs after the last checkpoint are trained again. Times
    are set so that TensorBoard's relative time is the training time without interruptions.

    Args:
        folder: the folder of the training.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._written = 0
        self._clock = 0.0

    def write(self, history: Sequence[Line]) -> None:
        """Append the epochs of `history` that are not in the file yet."""
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
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
