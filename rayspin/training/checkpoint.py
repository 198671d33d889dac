"""The files of a training: a checkpoint to resume from, the metrics as JSON lines, and the weights.

The checkpoint is the single source of truth. It includes the metrics of all epochs, so `metrics.jsonl` neither loses
nor duplicates an epoch when the process is killed. No state of a random generator is stored, because random numbers are
addressed by epoch and sample.
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

_REMEDY = "restore an intact copy, or move the file elsewhere to start again"

MAY_CHANGE = frozenset(
    {"training.epochs", "training.schedule_epochs", "training.patience", "training.checkpoint_interval"}
)
"""Keys that may differ from the checkpoint's when a training is resumed: the end of the training and the interval of
checkpoints. The learning rate schedule may depend on the epochs; `TrainingConfig.check_follows` checks it."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training at the end of an epoch.

    Attributes:
        job: the resolved network, objective, training and data, as tables.
        history: the metrics of every finished epoch.
        network: the state dict of the network.
        criterion: the parameters of the criterion by name.
        optimizer: the state dict of the optimizer.
    """

    job: dict[str, Any]
    history: list[Line]
    network: dict[str, Any]
    criterion: dict[str, Any]
    optimizer: dict[str, Any]

    @classmethod
    def of(
        cls,
        job: dict[str, Any],
        history: Sequence[Line],
        network: nn.Module,
        criterion: nn.Module,
        optimizer: Optimizer,
    ) -> Checkpoint:
        """The checkpoint of a running training.

        Args:
            job: the resolved job, as tables.
            history: the metrics of every finished epoch.
            network: the network.
            criterion: the criterion.
            optimizer: the optimizer.
        """
        return cls(job, list(history), network.state_dict(), _parameters(criterion), optimizer.state_dict())

    @classmethod
    def load(cls, folder: Path) -> Checkpoint | None:
        """Load the checkpoint in a folder to the CPU, without executing code from the file.

        Args:
            folder: the folder of the training.

        Returns:
            the checkpoint, or None if the folder has none.

        Raises:
            InputError: the file is not a checkpoint of a training, or its weights are invalid.
        """
        path = folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            checkpoint = cls(**torch.load(path, map_location="cpu", weights_only=True))
            checkpoint._check_types()
        # torch doesn't document the errors it raises for a damaged file.
        except Exception as error:
            problem = f"is not a checkpoint of a training ({type(error).__name__})"
            raise InputError(str(path), problem, _REMEDY) from None
        for state in (checkpoint.network, checkpoint.criterion):
            check_state(state, state, str(path))
        return checkpoint

    def _check_types(self) -> None:
        tables = all(isinstance(table, dict) for table in (self.job, self.network, self.criterion, self.optimizer))
        lines = isinstance(self.history, list) and all(isinstance(line, dict) for line in self.history)
        if not tables or not lines:
            raise TypeError
        if not all(isinstance(tensor, Tensor) for tensor in (*self.network.values(), *self.criterion.values())):
            raise TypeError

    def restore(self, network: Network, criterion: nn.Module, optimizer: Optimizer, folder: Path) -> None:
        """Load the state of this checkpoint into a network, its criterion and their optimizer.

        Args:
            network: the network, changed in place.
            criterion: its criterion, changed in place.
            optimizer: their optimizer, changed in place.
            folder: the folder of the checkpoint, for error messages.

        Raises:
            InputError: the state doesn't fit them, or holds NaN or infinity.
        """
        where = str(folder / CHECKPOINT)
        check_state(self.network, network.state_dict(), where)
        network.load_state_dict(self.network)
        check_state(self.criterion, _parameters(criterion), where)
        criterion.load_state_dict(self.criterion, strict=False)
        try:
            optimizer.load_state_dict(self.optimizer)
            trained = [*network.parameters(), *criterion.parameters()]
            moments = [(parameter, optimizer.state[parameter]) for parameter in trained]
            sound = all(
                torch.isfinite(state[name]).all() and state[name].shape == parameter.shape
                for parameter, state in moments
                for name in ("exp_avg", "exp_avg_sq")
            )
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError):
            sound = False
        if not sound:
            raise InputError(where, "the state of the optimizer doesn't fit this training or is not finite", _REMEDY)

    def save(self, folder: Path) -> None:
        """Write the checkpoint to a folder, atomically replacing an earlier one.

        Args:
            folder: the folder of the training.

        Raises:
            MachineError: the system refuses to write.
        """
        # Serialized in memory first, because torch hides system errors, such as a full disk, behind its own.
        content = io.BytesIO()
        torch.save(vars(self), content)
        with replacing(folder / CHECKPOINT) as temporary:
            temporary.write_bytes(content.getbuffer())

    def check_same(self, job: Mapping[str, Any], folder: Path) -> None:
        """Check that a job equals the checkpoint's, except for the keys in `MAY_CHANGE`.

        Args:
            job: the resolved job, as tables.
            folder: the folder of the checkpoint, for error messages.

        Raises:
            InputError: the jobs differ; the message lists all differences.
        """
        differences = [
            f"{key} was {old!r} and is now {new!r}"
            for key, old, new in differing(self.job, job)
            if key not in MAY_CHANGE
        ]
        if differences:
            raise InputError(
                str(folder / CHECKPOINT),
                f"belongs to another training ({', '.join(differences)})",
                "use another folder, or undo the changes",
            )


class Keeper:
    """A context manager that writes the state of a training to its folder after each epoch.

    All files except TensorBoard's event file are written atomically.

    Args:
        folder: the folder of the training.
        job: the resolved job, as tables.
        network: the network.
        criterion: the criterion.
        optimizer: the optimizer.
    """

    def __init__(
        self, folder: Path, job: dict[str, Any], network: Network, criterion: nn.Module, optimizer: Optimizer
    ) -> None:
        self._folder, self._job = folder, job
        self._network, self._criterion, self._optimizer = network, criterion, optimizer
        self._events = EventFile(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()

    def keep(self, history: Sequence[Line], *, checkpoint: bool) -> None:
        """Write the files that the last epoch changes: the metrics, the best weights and, on request, a checkpoint.

        The checkpoint is written last. After a kill, files newer than it are rewritten with the same content.

        Args:
            history: the metrics of every finished epoch.
            checkpoint: write a checkpoint and the weights of the last epoch.

        Raises:
            InputError: the weights hold NaN or infinity.
            MachineError: the system refuses to write.
        """
        if best_epoch(history) is history[-1]:
            self._save_weights(BEST, history[-1])
        write_text(self._folder / METRICS, "".join(json.dumps(line) + "\n" for line in history))
        self._events.write(history)
        if checkpoint:
            self._save_weights(WEIGHTS, history[-1])
            Checkpoint.of(self._job, history, self._network, self._criterion, self._optimizer).save(self._folder)

    def _save_weights(self, name: str, line: Line) -> None:
        save_weights(self._folder / name, self._network, {**self._job, "figures": line})


def branch(parent: str | Path, folder: str | Path, epochs: int, changed: Mapping[str, Any]) -> None:
    """Prepare a folder for a training that continues from another training's checkpoint with other settings.

    Args:
        parent: the folder of the training to continue from.
        folder: the folder of the new training; if it has a checkpoint already, nothing is done.
        epochs: number of finished epochs in the parent's checkpoint.
        changed: tables of the job ("training", "objective") that replace the parent's.

    Raises:
        InputError: the parent has no checkpoint after exactly `epochs` epochs, or its weights are invalid.
        MachineError: the system refuses to write.
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
    # The checkpoint is written last, so that a killed call is repeated in full.
    replace(state, job={**state.job, **changed}).save(folder)


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters()}
