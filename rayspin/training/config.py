"""How a network is trained: the `[training]` table of a job file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.training.data import Augmentation


class TrainingConfig(Config):
    """How long, in what steps and on which random streams; Adam throughout.

    Rate and batch are the published ones by default. Nothing here depends on the machine: a batch is split
    over the ranks.
    """

    epochs: Annotated[int, Field(ge=1)] = 100
    """Passes over the training samples. The papers give no number."""
    batch_size: Annotated[int, Field(ge=1)] = 400
    """Samples of one step, over all ranks together."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Of Adam; the highest one where a schedule varies it."""
    learning_rate_schedule: Literal["constant", "one-cycle", "cosine"] = "constant"
    """constant: published; cosine: falls to 0 along half a cosine; one-cycle: so after a rise over 30 %."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the schedule in which the rate rises to its full value, along half a cosine; one-cycle: at least 0.3."""
    schedule_epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs that schedule and warm-up are laid over; by default all `epochs`. Set to more, the training ends in
    mid-schedule and a larger `epochs` goes on from there; without it a varying rate has no way to go on."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Pieces that a batch is worked on in, where memory is short; batch norm sees one piece at a time."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network while it trains. bfloat16 has 3 digits: 1.4 times as fast, and no field to better than 1e-4."""
    compile: bool = False
    """Have torch.compile make kernels for the network. For GPUs: no gain on a CPU, after a minute or two."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a lower validation loss after which the training ends; None for never."""
    augmentation: Augmentation = "none"
    """What is done to each sample anew in every epoch: translations are around the edges, by fine sites; symmetries
    are translations and whatever rotations, reflections and reversal of spins the Hamiltonian keeps."""
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; longer ones are scaled down to it."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Root of the random streams: first weights, order of samples, augmentation, noise."""
    checkpoint_interval: Annotated[int, Field(ge=1)] = 1
    """Epochs between checkpoints: what a kill can cost at most."""

    @model_validator(mode="after")
    def _schedule_lasts(self) -> Self:
        if self.learning_rate_schedule != "constant" and self.epochs > (self.schedule_epochs or self.epochs):
            raise InputError(
                "epochs",
                f"{self.epochs} is more than the {self.schedule_epochs} of schedule_epochs, after which the rate is 0",
                "give as many, or fewer",
            )
        return self

    @property
    def schedule_span(self) -> int | None:
        """Epochs that the rate varies over, or None where it is the same throughout."""
        if self.learning_rate_schedule == "constant" and self.warm_up == 0:
            return None
        return self.schedule_epochs or self.epochs

    def check_follows(self, earlier: TrainingConfig, where: str) -> None:
        """Raise InputError if `earlier`, whose epochs are in the folder `where`, took other rates than this would."""
        if self.schedule_span != earlier.schedule_span:
            raise InputError(
                where,
                f"its learning rates are laid over {earlier.schedule_span} epochs, now over {self.schedule_span}",
                f"undo the change, or train anew in another folder (with training.schedule_epochs = "
                f"{self.schedule_span} from the start, more epochs can be added later)",
            )

    def rate(self, step: int, steps_an_epoch: int) -> float:
        """The learning rate of a step, counted from 0 over all epochs: it has no state, so a resumed run keeps it."""
        place = (step + 0.5) / ((self.schedule_span or self.epochs) * steps_an_epoch)
        rise = max(self.warm_up, 0.3) if self.learning_rate_schedule == "one-cycle" else self.warm_up
        if place < rise:
            phase = place / rise - 1
        else:
            phase = 0.0 if self.learning_rate_schedule == "constant" else (place - rise) / (1 - rise)
        return self.learning_rate * (1 + math.cos(math.pi * phase)) / 2

    def ended(self, validation_losses: Sequence[float]) -> bool:
        """Whether a training with these losses so far has all its epochs, or has run out of patience."""
        done = len(validation_losses)
        if self.patience is None or done == 0:
            return done >= self.epochs
        best = min(range(done), key=lambda epoch: validation_losses[epoch])
        return done >= self.epochs or done - 1 - best >= self.patience

    def splits_over(self, world_size: int) -> bool:
        """Whether every piece of a batch falls into equal shares for so many ranks."""
        return self.batch_size % (world_size * self.accumulation) == 0

    def check_samples(self, training: int, validation: int, world_size: int) -> None:
        """Raise InputError unless these numbers of samples make batches that can be split over the ranks."""
        if not self.splits_over(world_size):
            pieces = f", each in {self.accumulation} pieces" if self.accumulation > 1 else ""
            raise InputError(
                "training.batch_size",
                f"{self.batch_size} samples can't be split over {world_size} workers{pieces}",
                f"give a multiple of {world_size * self.accumulation}",
            )
        if training < self.batch_size:
            raise InputError(
                "training.batch_size",
                f"{self.batch_size} is more than the {training} training samples",
                "give a smaller batch, or generate more samples",
            )
        if validation < world_size:
            raise InputError(
                "splits.validation",
                f"{validation} samples for {world_size} workers",
                "generate at least one for each worker",
            )
