"""The training loop in plain PyTorch, for a single process or each rank of a process group that the caller started."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam

from rayspin.errors import InputError
from rayspin.models import Network, NetworkConfig
from rayspin.rng import seed_words
from rayspin.training.checkpoint import BEST, WEIGHTS, Checkpoint, Keeper
from rayspin.training.config import TrainingConfig
from rayspin.training.curve import Line, best_epoch
from rayspin.training.data import Loader
from rayspin.training.epoch import OnBatch, Trainer
from rayspin.training.memory import keeping_freed_memory
from rayspin.training.objectives import Criterion, Objective
from rayspin.training.sources import SampleSource
from rayspin.training.tiles import Tiles

OnEpoch = Callable[[Line], None]
"""A callback that receives the metrics of a finished epoch."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class FitResult:
    """The result of a training.

    Attributes:
        history: the metrics of every epoch, in order.
        weights: path of the weights of the last epoch.
        best: path of the weights of `best_epoch`.
    """

    history: tuple[Line, ...]
    weights: Path
    best: Path

    @property
    def best_epoch(self) -> Line:
        """The metrics of the epoch with the lowest validation loss."""
        return best_epoch(self.history)


def fit(
    objective: Objective,
    network_config: NetworkConfig,
    training: TrainingConfig,
    train: SampleSource,
    validation: SampleSource,
    folder: str | Path,
    *,
    further: Sequence[tuple[SampleSource, float]] = (),
    rank: int = 0,
    world_size: int = 1,
    device: str | torch.device = "cpu",
    until: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_epoch: OnEpoch = lambda _: None,
    on_batch: OnBatch = lambda _epoch, _done, _total: None,
) -> FitResult:
    """Train a network, resuming from the folder's checkpoint if there is one; a finished training returns at once.

    With more than one rank, every rank calls this function in a process group, and only rank 0 reads and writes the
    folder. The result depends on the world size only by rounding. On the CPU, the metrics of a resumed training are
    bitwise equal to those of an uninterrupted one with the same world size.

    Args:
        objective: the objective.
        network_config: the config of the network.
        training: the settings.
        train: the training samples.
        validation: the validation samples.
        folder: the folder of checkpoint, metrics and weights; it is created if necessary.
        further: (samples, share) from further datasets with the same lattice; the share of each epoch's samples that
            they replace, at random. Their fields are those of the Hamiltonian of `train`.
        rank: index of this process.
        world_size: number of processes that share each batch.
        device: the device to train on.
        until: total number of epochs after which to write a checkpoint and return, even if `training` requests more.
        stop: called on rank 0 after each epoch; if it returns true, the training writes a checkpoint and returns.
        on_epoch: called on every rank with the metrics of each epoch, after they have been written.
        on_batch: called on every rank with the epoch, the number of finished batches and the number of batches.

    Raises:
        InputError: the lattice, the batch size or the number of ranks doesn't fit, or the folder holds another
            training.
        RunError: the loss is not finite.
        MachineError: the system refuses to write.
    """
    folder = Path(folder)
    objective.check(network_config, train.shape)
    training.check_samples(len(train), len(validation), world_size)
    job = _job(objective, network_config, training, train, validation)
    if further:
        job["data"]["further"] = [_further(source, share, train) for source, share in further]
    checkpoint = _from_rank_zero(lambda: _resumable(folder, job, training), rank, world_size)

    device = torch.device(device)
    criterion = objective.build(network_config, train).to(device)
    network = _initial(criterion, network_config, training.seed).to(device)
    optimizer = Adam([*network.parameters(), *criterion.parameters()], lr=training.learning_rate)
    history: list[Line] = []
    if checkpoint is not None:
        checkpoint.restore(network, criterion, optimizer, folder)
        history = list(checkpoint.history)
    trainer = Trainer(
        criterion=criterion,
        model=_prepared(network, training, world_size),
        optimizer=optimizer,
        training=training,
        train=Loader(train, training.seed, training.augmentation, device, tuple(further)),
        validation=Loader(validation, training.seed, "none", device),
        rank=rank,
        world_size=world_size,
        on_batch=on_batch,
    )
    until = training.epochs if until is None else until
    with (
        keeping_freed_memory() if device.type == "cpu" else nullcontext(),
        Keeper(folder, job, network, criterion, optimizer) if rank == 0 else nullcontext() as keeper,
    ):
        last = _ended(training, history, until)
        while not last:
            history.append(line := trainer.epoch(len(history) + 1))
            last = _ended(training, history, until) or _from_rank_zero(stop, rank, world_size)
            if keeper is not None:
                keeper.keep(history, checkpoint=last or len(history) % training.checkpoint_interval == 0)
            on_epoch(line)
    if world_size > 1:
        # The DDP wrapper is in a reference cycle and holds threads of the group. It must be collected before the caller
        # destroys the group.
        del trainer
        gc.collect()
    return FitResult(tuple(history), folder / WEIGHTS, folder / BEST)


def _ended(training: TrainingConfig, history: list[Line], until: int) -> bool:
    return len(history) >= until or training.ended([line["validation_loss"] for line in history])


def _job(
    objective: Objective,
    network_config: NetworkConfig,
    training: TrainingConfig,
    train: SampleSource,
    validation: SampleSource,
) -> dict[str, Any]:
    """Everything that determines the metrics, as plain tables."""
    return {
        "network": network_config.to_table(),
        "objective": objective.to_table(),
        "training": training.to_table(),
        "data": {
            "training_samples": len(train),
            "validation_samples": len(validation),
            "size": list(train.shape),
            "digest": train.digest,
            **(
                {"components": "z" if train.one_component else "xyz"}
                if isinstance(train, Tiles)
                else {"hamiltonian": train.hamiltonian.to_table()}
            ),
        },
    }


def _further(source: SampleSource, share: float, train: SampleSource) -> dict[str, Any]:
    """What determines the samples from a further source, as a table."""
    if source.shape != train.shape:
        sizes = " and ".join("{} x {}".format(*shape) for shape in (train.shape, source.shape))
        raise InputError("further", f"lattices of {sizes} sites can't be mixed", "use datasets of one size")
    return {"samples": len(source), "share": share, "digest": source.digest}


def _resumable(folder: Path, job: dict[str, Any], training: TrainingConfig) -> Checkpoint | None:
    checkpoint = Checkpoint.load(folder)
    if checkpoint is not None:
        checkpoint.check_same(job, folder)
        training.check_follows(TrainingConfig.model_validate(checkpoint.job["training"]), str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    return checkpoint


def _initial(criterion: Criterion, config: NetworkConfig, seed: int) -> Network:
    """The network with its initial weights, the same on every rank; torch's global generator is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed_words("weights", (seed,), 1)[0]))
        return criterion.network(config)


def _prepared(network: Network, training: TrainingConfig, world_size: int) -> nn.Module:
    """The network prepared for training: compiled on request, and with gradients averaged over the ranks."""
    if training.compile:
        network.compile()
    if world_size == 1:
        return network
    # All ranks already have the same batch norm statistics; broadcasting them took a tenth of each step.
    known = signature(DistributedDataParallel).parameters
    options: Any = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
    return DistributedDataParallel(network, **options)


def _from_rank_zero(get: Callable[[], Value], rank: int, world_size: int) -> Value:
    """Return or raise on every rank what `get` returns or raises on rank 0: other ranks may see the folder late."""
    if world_size == 1:
        return get()
    outcome: list[Any] = [None]
    if rank == 0:
        try:
            outcome = [get()]
        except InputError as error:
            outcome = [error]
    dist.broadcast_object_list(outcome, src=0)
    if isinstance(outcome[0], InputError):
        raise outcome[0]
    value: Value = outcome[0]
    return value
