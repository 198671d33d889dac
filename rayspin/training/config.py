"""The `[training]` table of a job file: epochs, batches, learning rate and random streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.training.data import Augmentation


class TrainingConfig(Config):
    """The settings of a training with the Adam optimizer.

    The default learning rate and batch size are the published ones. The settings don't depend on the number of ranks,
    because each batch is split over them.
    """

    epochs: Annotated[int, Field(ge=1)] = 100
    """Number of passes over the training samples. The papers don't give it."""
    batch_size: Annotated[int, Field(ge=1)] = 400
    """Number of samples per step, over all ranks together."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Learning rate of Adam; with a schedule, the highest one."""
    learning_rate_schedule: Literal["constant", "one-cycle", "cosine"] = "constant"
    """Schedule of the learning rate. "constant" is published; "cosine" falls to 0 along half a cosine; "one-cycle" does
    so after a rise over the first 30 %."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of the schedule in which the rate rises to its full value along half a cosine; "one-cycle" takes at
    least 0.3."""
    schedule_epochs: Annotated[int, Field(ge=1)] | None = None
    """Length of the schedule and its warm-up, epochs; by default `epochs`. If it is longer than `epochs`, the training
    ends before the schedule does and can be continued by raising `epochs`. Otherwise a training with a varying rate
    can't be continued."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Number of pieces that each batch is processed in, to save memory; batch norm uses one piece at a time."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the network in training. bfloat16 has 3 digits: it is 1.4 times as fast, but fields don't get more
    accurate than 1e-4."""
    compile: bool = False
    """Compile the network with torch.compile, which takes a minute or two. Use it on GPUs; CPUs gain nothing."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Number of epochs without a lower validation loss after which the training ends; None means never."""
    augmentation: Augmentation = "none"
    """Random transformation of each sample in every epoch. "translations" shifts it periodically by fine sites;
    "symmetries" also applies rotations, reflections and spin reversals that leave the Hamiltonian invariant."""
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; larger gradients are scaled down to it."""
    batch_norm_until: Annotated[float, Field(gt=0, le=1, exclude_if=lambda until: until == 1)] = 1.0
    """Fraction of the training (of `schedule_epochs`, if it is set) after which batch norm uses its running statistics
    instead of those of the batch; its weights and offsets are trained to the end. With small batches the network is
    then trained as it is applied."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Root seed of the random streams for initial weights, sample order, augmentation and noise."""
    checkpoint_interval: Annotated[int, Field(ge=1)] = 1
    """Number of epochs between checkpoints, and so the most that a kill can lose."""

    @model_validator(mode="after")
    def _schedule_lasts(self) -> Self:
        if self.learning_rate_schedule != "constant" and self.epochs > (self.schedule_epochs or self.epochs):
            raise InputError(
                "epochs",
                f"{self.epochs} exceeds schedule_epochs ({self.schedule_epochs}), after which the learning rate is 0",
                f"give at most {self.schedule_epochs}",
            )
        return self

    @property
    def schedule_span(self) -> int | None:
        """Number of epochs that the schedule refers to, or None if nothing changes during the training."""
        if self.learning_rate_schedule == "constant" and self.warm_up == 0 and self.batch_norm_until == 1:
            return None
        return self.schedule_epochs or self.epochs

    def check_follows(self, earlier: TrainingConfig, where: str) -> None:
        """Check that an earlier part of the training used the learning rates of this schedule.

        Args:
            earlier: the settings of the earlier part.
            where: its folder, for error messages.

        Raises:
            InputError: the schedules have different lengths.
        """
        if self.schedule_span != earlier.schedule_span:
            before, now = (
                "is constant" if config.schedule_span is None else f"spans {config.schedule_span} epochs"
                for config in (earlier, self)
            )
            remedy = "undo the change, or train in another folder"
            if self.schedule_span is not None:
                remedy += (
                    f" (with training.schedule_epochs = {self.schedule_span} from the start, epochs can be added later)"
                )
            raise InputError(where, f"its learning rate schedule {before}, but the new one {now}", remedy)

    def rate(self, step: int, steps_an_epoch: int) -> float:
        """The learning rate of a step; it depends on no state, so that a resumed training continues it exactly.

        Args:
            step: index of the step over all epochs, from 0.
            steps_an_epoch: number of steps per epoch.
        """
        place = self._place(step, steps_an_epoch)
        rise = max(self.warm_up, 0.3) if self.learning_rate_schedule == "one-cycle" else self.warm_up
        if place < rise:
            phase = place / rise - 1
        else:
            phase = 0.0 if self.learning_rate_schedule == "constant" else (place - rise) / (1 - rise)
        return self.learning_rate * (1 + math.cos(math.pi * phase)) / 2

    def batch_norm_frozen(self, step: int, steps_an_epoch: int) -> bool:
        """Whether batch norm uses its running statistics in a step; the arguments are those of `rate`."""
        return self.batch_norm_until < 1 and self._place(step, steps_an_epoch) > self.batch_norm_until

    def _place(self, step: int, steps_an_epoch: int) -> float:
        """The middle of a step as a fraction of the schedule."""
        return (step + 0.5) / ((self.schedule_span or self.epochs) * steps_an_epoch)

    def ended(self, validation_losses: Sequence[float]) -> bool:
        """Whether a training with these validation losses has finished all epochs or exceeded its patience."""
        done = len(validation_losses)
        if self.patience is None or done == 0:
            return done >= self.epochs
        best = min(range(done), key=lambda epoch: validation_losses[epoch])
        return done >= self.epochs or done - 1 - best >= self.patience

    def splits_over(self, world_size: int) -> bool:
        """Whether every piece of a batch can be divided equally among `world_size` ranks."""
        return self.batch_size % (world_size * self.accumulation) == 0

    def check_samples(self, training: int, validation: int, world_size: int) -> None:
        """Check that the samples suffice for batches that can be split over the ranks.

        Args:
            training: number of training samples.
            validation: number of validation samples.
            world_size: number of ranks.

        Raises:
            InputError: the batch can't be split evenly, or there are too few samples.
        """
        if not self.splits_over(world_size):
            pieces = f" in {self.accumulation} pieces each" if self.accumulation > 1 else ""
            raise InputError(
                "training.batch_size",
                f"{self.batch_size} samples can't be split over {world_size} workers{pieces}",
                f"give a multiple of {world_size * self.accumulation}",
            )
        if training < self.batch_size:
            raise InputError(
                "training.batch_size",
                f"{self.batch_size} exceeds the number of training samples, {training}",
                "give a smaller batch, or generate more samples",
            )
        if validation < world_size:
            raise InputError(
                "splits.validation",
                f"{validation} validation samples for {world_size} workers",
                "generate at least one validation sample for each worker",
            )
