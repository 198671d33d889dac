"""Training in plain PyTorch: one process, or any rank of a process group that the caller has started."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam, Optimizer

from rayspin.errors import InputError, RunError
from rayspin.models import Network, NetworkConfig
from rayspin.rng import seed_words
from rayspin.training.checkpoint import BEST, WEIGHTS, Checkpoint, Keeper, Line, best_epoch
from rayspin.training.config import TrainingConfig
from rayspin.training.data import Batch, Loader, SampleSource, epoch_positions, validation_positions
from rayspin.training.objectives import Objective, Task

OnEpoch = Callable[[Line], None]
OnBatch = Callable[[int, int, int], None]
Value = TypeVar("Value")


@dataclass(frozen=True)
class FitResult:
    """What a finished training leaves: its curve, and where its weights are.

    Attributes:
        history: the figures of every epoch, the first one's first.
        weights: the weights of the last epoch.
        best: the weights of `best_epoch`.
    """

    history: tuple[Line, ...]
    weights: Path
    best: Path

    @property
    def best_epoch(self) -> Line:
        """The figures of the epoch with the lowest validation loss."""
        return best_epoch(self.history)


def fit(
    objective: Objective,
    network_config: NetworkConfig,
    training: TrainingConfig,
    train: SampleSource,
    validation: SampleSource,
    folder: Path,
    *,
    rank: int = 0,
    world_size: int = 1,
    device: str | torch.device = "cpu",
    on_epoch: OnEpoch = lambda _: None,
    on_batch: OnBatch = lambda _epoch, _done, _total: None,
) -> FitResult:
    """Train a network, or go on where the folder's checkpoint is; a finished training returns at once.

    With more than one rank, every rank calls this in a process group; rank 0 alone reads and writes the
    folder. The result does not depend on the world size but for rounding; on the CPU a resumed curve is bit
    for bit that of an uninterrupted training of the same world size.

    Args:
        objective: what to train for.
        network_config: the network.
        training: how.
        train: the samples to train on.
        validation: the samples to watch.
        folder: where checkpoint, curve and weights go; it is made if need be.
        rank: number of this process.
        world_size: how many processes share each batch.
        device: where to train.
        on_epoch: called on every rank with each epoch's figures, after they are on disk.
        on_batch: called on every rank with epoch, batches done and batches in the epoch.

    Raises:
        InputError: lattice, batch and ranks don't fit together, or the folder holds another training.
        RunError: the loss is no longer finite.
    """
    objective.check(network_config, train.shape)
    training.check_samples(len(train), len(validation), world_size)
    job = _job(objective, network_config, training, train, validation)
    checkpoint = _from_rank_zero(lambda: _resumable(folder, job), rank, world_size)

    device = torch.device(device)
    network = _initial(network_config, training.seed).to(device)
    optimizer = Adam(network.parameters(), lr=training.learning_rate)
    history: list[Line] = []
    if checkpoint is not None:
        network.load_state_dict(checkpoint.network)
        optimizer.load_state_dict(checkpoint.optimizer)
        history = list(checkpoint.history)
    run = _Run(
        task=objective.build(network_config, train).to(device),
        model=DistributedDataParallel(network) if world_size > 1 else network,
        optimizer=optimizer,
        training=training,
        train=Loader(train, training.seed, training.augmentation, device),
        validation=Loader(validation, training.seed, "none", device),
        rank=rank,
        world_size=world_size,
        on_batch=on_batch,
    )
    keeper = Keeper(folder, job, network, optimizer) if rank == 0 else None

    while not training.ended(losses := [line["validation_loss"] for line in history]):
        history.append(line := run.epoch(len(history) + 1))
        last = training.ended([*losses, line["validation_loss"]])
        if keeper is not None:
            keeper.keep(history, checkpoint=last or len(history) % training.checkpoint_interval == 0)
        on_epoch(history[-1])
    return FitResult(tuple(history), folder / WEIGHTS, folder / BEST)


@dataclass(frozen=True)
class _Run:
    """One rank's part of a training."""

    task: Task
    model: nn.Module
    optimizer: Optimizer
    training: TrainingConfig
    train: Loader
    validation: Loader
    rank: int
    world_size: int
    on_batch: OnBatch

    def epoch(self, epoch: int) -> Line:
        """Train for one epoch (numbered from 1) and validate: its figures, the same on every rank."""
        started = time.perf_counter()
        training_loss = self._train(epoch)
        trained = time.perf_counter()
        figures = self._validate()
        if not math.isfinite(training_loss) or not math.isfinite(figures["validation_loss"]):
            raise RunError(
                "training",
                f"the loss of epoch {epoch} is not finite",
                "lower learning_rate, or set gradient_clip; the last checkpoint is kept",
            )
        samples = len(self.train.source) // self.training.batch_size * self.training.batch_size
        return {
            "epoch": epoch,
            "training_loss": training_loss,
            **figures,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": time.perf_counter() - started,
            "samples_per_second": samples / (trained - started),
        }

    def _train(self, epoch: int) -> float:
        self.model.train()
        training = self.training
        shares = epoch_positions(
            len(self.train.source), training.batch_size, training.seed, epoch, self.rank, self.world_size
        )
        pieces = [piece for share in shares for piece in np.split(share, training.accumulation)]
        total = torch.zeros((), device=self.train.device)
        for index, batch in enumerate(self.train.batches(pieces, epoch)):
            step, piece = divmod(index, training.accumulation)
            total += self._add_gradient(batch, last=piece == training.accumulation - 1)
            if piece == training.accumulation - 1:
                self._update(training.rate((epoch - 1) * len(shares) + step, training.epochs * len(shares)))
                self.on_batch(epoch, step + 1, len(shares))
        return self._mean({"training_loss": total}, len(pieces) * self.world_size)["training_loss"]

    def _add_gradient(self, batch: Batch, *, last: bool) -> Tensor:
        """Add the gradient of a piece of a batch; ranks exchange gradients at the last one."""
        model = self.model
        with nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync():
            loss = self.task.loss(self._forward, batch)
            (loss / self.training.accumulation).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _forward(self, spins_NCYX: Tensor) -> Tensor:
        with torch.autocast(spins_NCYX.device.type, torch.bfloat16, enabled=self.training.precision == "bfloat16"):
            maps_NCYX: Tensor = self.model(spins_NCYX)
        return maps_NCYX.float()

    def _update(self, rate: float) -> None:
        if self.training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.training.gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def _validate(self) -> Line:
        self.model.eval()
        samples = len(self.validation.source)
        positions = validation_positions(samples, self.training.batch_size, self.rank, self.world_size)
        sums: dict[str, Tensor] = {}
        # Epoch 0, so that noise is the same each time and figures compare.
        for batch in self.validation.batches(positions, epoch=0):
            # The wrapper would synchronize a forward pass, and ranks may have different numbers of them.
            network = self.model.module if isinstance(self.model, DistributedDataParallel) else self.model
            for name, mean in self.task.figures(network, batch).items():
                sums[name] = sums.get(name, torch.zeros_like(mean)) + mean * len(batch.spins_NCYX)
        return self._mean(sums, samples)

    def _mean(self, sums: dict[str, Tensor], count: int) -> Line:
        """Sums over the ranks, over `count`."""
        stacked = torch.stack(list(sums.values()))
        if self.world_size > 1:
            dist.all_reduce(stacked)
        return dict(zip(sums, (stacked / count).tolist()))


def _job(
    objective: Objective,
    network_config: NetworkConfig,
    training: TrainingConfig,
    train: SampleSource,
    validation: SampleSource,
) -> dict[str, Any]:
    """All that the curve follows from, as plain tables."""
    return {
        "network": network_config.to_table(),
        "objective": objective.to_table(),
        "training": training.to_table(),
        "data": {
            "training_samples": len(train),
            "validation_samples": len(validation),
            "size": list(train.shape),
            "hamiltonian": train.hamiltonian.to_table(),
        },
    }


def _resumable(folder: Path, job: dict[str, Any]) -> Checkpoint | None:
    checkpoint = Checkpoint.load(folder)
    if checkpoint is not None:
        checkpoint.check_same(job, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return checkpoint


def _initial(config: NetworkConfig, seed: int) -> Network:
    """The network with its first weights, the same on every rank; torch's global stream is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed_words("weights", (seed,), 1)[0]))
        return config.build()


def _from_rank_zero(get: Callable[[], Value], rank: int, world_size: int) -> Value:
    """What `get` returns or raises on rank 0, on every rank: others may see the folder late."""
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
