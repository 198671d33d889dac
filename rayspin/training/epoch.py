"""One epoch of training and validation, in a single process or on one of several ranks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from rayspin.errors import RunError
from rayspin.models.layers import BatchNorm
from rayspin.training.config import TrainingConfig
from rayspin.training.curve import Line
from rayspin.training.data import Batch, Loader, epoch_positions, validation_positions
from rayspin.training.objectives import Criterion

OnBatch = Callable[[int, int, int], None]
"""A callback that receives the epoch, the number of finished batches and the number of batches in the epoch."""


@dataclass(frozen=True)
class Trainer:
    """One rank's part of a training.

    Attributes:
        criterion: the objective for the dataset.
        model: the network, wrapped for training.
        optimizer: the optimizer.
        training: the settings.
        train: the loader of the training samples.
        validation: the loader of the validation samples.
        rank: index of this rank.
        world_size: number of ranks.
        on_batch: called after each batch.
    """

    criterion: Criterion
    model: nn.Module
    optimizer: Optimizer
    training: TrainingConfig
    train: Loader
    validation: Loader
    rank: int
    world_size: int
    on_batch: OnBatch

    def epoch(self, epoch: int) -> Line:
        """Train for one epoch, validate, and return the metrics, which are the same on every rank.

        Args:
            epoch: number of the epoch, from 1.

        Raises:
            RunError: the loss is not finite.
        """
        started = time.perf_counter()
        training_loss = self._train(epoch)
        trained = time.perf_counter()
        figures = self._validate()
        if not math.isfinite(training_loss) or not math.isfinite(figures["validation_loss"]):
            raise RunError(
                "training",
                f"the loss of epoch {epoch} is not finite",
                "lower learning_rate or set gradient_clip; the last checkpoint is kept",
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
            if training.batch_norm_frozen((epoch - 1) * len(shares) + step, len(shares)):
                self._freeze_batch_norm()
            total += self._add_gradient(batch, last=piece == training.accumulation - 1)
            if piece == training.accumulation - 1:
                self._update(training.rate((epoch - 1) * len(shares) + step, len(shares)))
                self.on_batch(epoch, step + 1, len(shares))
        return self._mean({"training_loss": total}, len(pieces) * self.world_size)["training_loss"]

    def _add_gradient(self, batch: Batch, *, last: bool) -> Tensor:
        """Add the gradient of a piece of a batch; the ranks exchange gradients at the last piece."""
        model = self.model
        with nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync():
            loss = self.criterion.loss(self._forward, batch)
            (loss / self.training.accumulation).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _freeze_batch_norm(self) -> None:
        for module in self.model.modules():
            if isinstance(module, BatchNorm) and module.training:
                module.eval()

    def _forward(self, spins_NCYX: Tensor) -> Tensor:
        with torch.autocast(spins_NCYX.device.type, torch.bfloat16, enabled=self.training.precision == "bfloat16"):
            maps_NCYX: Tensor = self.model(spins_NCYX)
        return maps_NCYX.float()

    def _update(self, rate: float) -> None:
        if self.world_size > 1:
            # The DDP wrapper averages the gradients of the network only.
            for parameter in self.criterion.parameters():
                assert parameter.grad is not None
                dist.all_reduce(parameter.grad)
                parameter.grad /= self.world_size
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
        # Always epoch 0, so that the noise is the same in every validation and the metrics are comparable.
        for batch in self.validation.batches(positions, epoch=0):
            # The DDP wrapper would synchronize forward passes, and the ranks may differ in their numbers of batches.
            network = self.model.module if isinstance(self.model, DistributedDataParallel) else self.model
            for name, mean in self.criterion.figures(network, batch).items():
                sums[name] = sums.get(name, torch.zeros_like(mean)) + mean * len(batch.spins_NCYX)
        return self._mean(sums, samples)

    def _mean(self, sums: dict[str, Tensor], count: int) -> Line:
        """The sums over all ranks, divided by `count`."""
        stacked = torch.stack(list(sums.values()))
        if self.world_size > 1:
            dist.all_reduce(stacked)
        return dict(zip(sums, (stacked / count).tolist()))
