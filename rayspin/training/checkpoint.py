"""What a training keeps on disk: a checkpoint to resume from, the curve as JSON lines, the weights.

The checkpoint is the one source of truth; it holds the curve too, so that `metrics.jsonl` can neither lose
nor double an epoch whenever the process dies. There is no state of a random generator to keep: randomness
is addressed by epoch and sample.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from rayspin.errors import InputError
from rayspin.models import Network, save_weights
from rayspin.rundir import differing, replacing, write_text

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"

MAY_CHANGE = frozenset({"training.epochs", "training.patience", "training.checkpoint_interval"})
"""Keys in which a training may differ from its checkpoint's: when it ends, and what is kept."""

Line = dict[str, float]


@dataclass(frozen=True)
class Checkpoint:
    """A training after some whole epochs.

    Attributes:
        job: the resolved network, objective, training and data, as tables.
        history: the figures of every epoch so far.
        network: its state dict.
        optimizer: its state dict.
    """

    job: dict[str, Any]
    history: list[Line]
    network: dict[str, Any]
    optimizer: dict[str, Any]

    @classmethod
    def of(cls, job: dict[str, Any], history: Sequence[Line], network: nn.Module, optimizer: Optimizer) -> Checkpoint:
        """The state of a running training."""
        return cls(job, list(history), network.state_dict(), optimizer.state_dict())

    @classmethod
    def load(cls, folder: Path) -> Checkpoint | None:
        """The checkpoint in a folder, on the CPU, or None; nothing in the file is run.

        Raises:
            InputError: the file is no checkpoint of a training.
        """
        path = folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except (pickle.UnpicklingError, RuntimeError, TypeError, EOFError):
            raise InputError(str(path), "no checkpoint of a training", "remove it to start afresh") from None

    def save(self, folder: Path) -> None:
        """Put the checkpoint in a folder, in place of an earlier one, whole or not at all."""
        with replacing(folder / CHECKPOINT) as temporary:
            torch.save(vars(self), temporary)

    def check_same(self, job: Mapping[str, Any], folder: Path) -> None:
        """Raise InputError, with every difference, unless `job` is its own, but for `MAY_CHANGE`."""
        differences = [
            f"{key} is {old!r} there and {new!r} now"
            for key, old, new in differing(self.job, job)
            if key not in MAY_CHANGE
        ]
        if differences:
            raise InputError(
                str(folder / CHECKPOINT),
                f"of another training ({', '.join(differences)})",
                "use another folder, or undo the change",
            )


@dataclass(frozen=True)
class Keeper:
    """Writes the state of a training to its folder, epoch by epoch; every file appears whole, by rename."""

    folder: Path
    job: dict[str, Any]
    network: Network
    optimizer: Optimizer

    def keep(self, history: Sequence[Line], *, checkpoint: bool) -> None:
        """Write what the last epoch of `history` changes: curve, best weights, and a checkpoint if due.

        The checkpoint comes last: what a kill leaves newer than it is written again, with the same content.
        """
        if best_epoch(history) is history[-1]:
            self._save_weights(BEST, history[-1])
        write_text(self.folder / METRICS, "".join(json.dumps(line) + "\n" for line in history))
        if checkpoint:
            self._save_weights(WEIGHTS, history[-1])
            Checkpoint.of(self.job, history, self.network, self.optimizer).save(self.folder)

    def _save_weights(self, name: str, line: Line) -> None:
        save_weights(self.folder / name, self.network, {**self.job, "figures": line})


def best_epoch(history: Sequence[Line]) -> Line:
    """The figures of the epoch with the lowest validation loss, the first one of equals."""
    return min(history, key=lambda line: line["validation_loss"])
