"""What a training keeps on disk: a checkpoint to resume from, the curve as JSON lines, the weights.

The checkpoint is the one source of truth; it holds the curve too, so that `metrics.jsonl` can neither lose
nor double an epoch whenever the process dies. There is no state of a random generator to keep: randomness
is addressed by epoch and sample.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rayspin.errors import InputError
from rayspin.models import Network, load_weights, save_weights
from rayspin.models.weights import check_state
from rayspin.rundir import differing, replacing, write_text
from rayspin.training.curve import METRICS, EventFile, Line, best_epoch

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"

_REMEDY = "put back a sound copy, or move it away to start afresh"

MAY_CHANGE = frozenset(
    {"training.epochs", "training.schedule_epochs", "training.patience", "training.checkpoint_interval"}
)
"""Keys in which a training may differ from its checkpoint's: when it ends, and what is kept. A schedule of the rate
that spans the epochs changes with them: that is checked apart (`TrainingConfig.check_follows`)."""


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
            InputError: the file is no checkpoint of a training, or its weights can't be used.
        """
        path = folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            checkpoint = cls(**torch.load(path, map_location="cpu", weights_only=True))
            checkpoint._check_types()
        # A spoilt file comes out as an error of whatever kind: torch names none.
        except Exception as error:
            problem = f"no checkpoint of a training ({type(error).__name__})"
            raise InputError(str(path), problem, _REMEDY) from None
        check_state(checkpoint.network, checkpoint.network, str(path))
        return checkpoint

    def _check_types(self) -> None:
        tables = isinstance(self.job, dict) and isinstance(self.network, dict) and isinstance(self.optimizer, dict)
        lines = isinstance(self.history, list) and all(isinstance(line, dict) for line in self.history)
        if not tables or not lines or not all(isinstance(tensor, Tensor) for tensor in self.network.values()):
            raise TypeError

    def restore(self, network: Network, optimizer: Optimizer, folder: Path) -> None:
        """Bring a network and its optimizer to the state of this checkpoint, which lies in `folder`.

        Raises:
            InputError: the state is not that of such a network and optimizer, or holds NaN or infinity.
        """
        where = str(folder / CHECKPOINT)
        check_state(self.network, network.state_dict(), where)
        network.load_state_dict(self.network)
        try:
            optimizer.load_state_dict(self.optimizer)
            moments = [(parameter, optimizer.state[parameter]) for parameter in network.parameters()]
            sound = all(
                torch.isfinite(state[name]).all() and state[name].shape == parameter.shape
                for parameter, state in moments
                for name in ("exp_avg", "exp_avg_sq")
            )
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError):
            sound = False
        if not sound:
            raise InputError(where, "the state of the optimizer is not that of this training", _REMEDY)

    def save(self, folder: Path) -> None:
        """Put the checkpoint in a folder, in place of an earlier one, whole or not at all."""
        # Written by torch, the file of a full disk is an error of torch's and not of the system.
        content = io.BytesIO()
        torch.save(vars(self), content)
        with replacing(folder / CHECKPOINT) as temporary:
            temporary.write_bytes(content.getbuffer())

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


class Keeper:
    """Writes the state of a training to its folder, epoch by epoch.

    Every file but the one for TensorBoard appears whole, by rename.
    """

    def __init__(self, folder: Path, job: dict[str, Any], network: Network, optimizer: Optimizer) -> None:
        self._folder, self._job, self._network, self._optimizer = folder, job, network, optimizer
        self._events = EventFile(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()

    def keep(self, history: Sequence[Line], *, checkpoint: bool) -> None:
        """Write what the last epoch of `history` changes: curve, best weights, and a checkpoint if due.

        The checkpoint comes last: what a kill leaves newer than it is written again, with the same content.
        """
        if best_epoch(history) is history[-1]:
            self._save_weights(BEST, history[-1])
        write_text(self._folder / METRICS, "".join(json.dumps(line) + "\n" for line in history))
        self._events.write(history)
        if checkpoint:
            self._save_weights(WEIGHTS, history[-1])
            Checkpoint.of(self._job, history, self._network, self._optimizer).save(self._folder)

    def _save_weights(self, name: str, line: Line) -> None:
        save_weights(self._folder / name, self._network, {**self._job, "figures": line})


def branch(parent: str | Path, folder: str | Path, epochs: int, changed: Mapping[str, Any]) -> None:
    """Put into `folder` what a training needs to go on from the parent's state with other settings; once.

    Args:
        parent: the folder of a training that has come exactly so far.
        folder: of the new training; nothing is done if it has a checkpoint.
        epochs: how many the parent has behind it.
        changed: tables of its job ("training", "objective") as they are from now on.

    Raises:
        InputError: the parent has no checkpoint after so many epochs, or weights that can't be used.
    """
    parent, folder = Path(parent), Path(folder)
    if (folder / CHECKPOINT).exists():
        return
    state = Checkpoint.load(parent)
    if state is None or len(state.history) != epochs:
        raise InputError(str(parent), f"has no checkpoint after {epochs} epochs", "start the sweep in a new folder")
    load_weights(parent / BEST)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(parent / BEST, folder / BEST)
    # The checkpoint comes last: a kill before it leaves nothing that counts.
    replace(state, job={**state.job, **changed}).save(folder)
