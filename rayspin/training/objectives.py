"""Training objectives (the loss of a network and the metrics of its validation), and that of super-resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Protocol, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.models import Degrade, Network, SuperResolutionNet, SuperResolutionNetConfig
from rayspin.physics import Degradation
from rayspin.rundir import differing
from rayspin.training.data import Batch
from rayspin.training.field import ExactField
from rayspin.training.sources import SampleSource

Forward = Callable[[Tensor], Tensor]
"""A network or an equivalent function, from NCYX to NCYX tensors, float32."""


class Criterion(Protocol):
    """The interface of an objective for one dataset; implementations are modules, since they hold tensors."""

    def to(self, device: torch.device) -> Self:
        """Move the criterion to a device and return it."""

    def network(self, config: Any) -> Network:
        """Build the network that a config describes, with initial weights from torch's global generator."""

    def loss(self, network: Forward, batch: Batch) -> Tensor:
        """The mean loss of a batch."""

    def figures(self, network: Forward, batch: Batch) -> dict[str, Tensor]:
        """The mean metrics of a validation batch by name; "validation_loss" selects the best epoch."""


class Objective(Protocol):
    """The interface of an objective: the config of a loss for one kind of network."""

    measured: ClassVar[tuple[str, ...]]
    """The names of the validation metrics."""

    def check(self, network: Any, shape: tuple[int, int]) -> None:
        """Check that a network can be trained for this objective.

        Args:
            network: the config of the network.
            shape: rows and columns of the fine lattice.

        Raises:
            InputError: the network doesn't fit the lattice or the objective.
        """

    def build(self, network: Any, source: SampleSource) -> Criterion:
        """Build the criterion for a dataset, on the CPU."""

    def to_table(self) -> dict[str, Any]:
        """Convert the objective to plain tables."""


class SuperResolutionObjective(Config):
    """Mean squared error of the degraded output against the coarse input (2023 paper); it needs no fine spins."""

    measured: ClassVar[tuple[str, ...]] = ("validation_loss", "fine_mse", "fine_correlation")
    """The names of the validation metrics."""

    degradation: Degradation = Degradation()
    """The degradation that computes coarse spins from fine ones, in the data and in the loss."""
    noise_amplitude: Annotated[float, Field(ge=0)] = 0.0
    """Amplitude alpha of the noise in the coarse data, S' = (S + alpha R) / |S + alpha R|, with random unit vectors R
    that change in every epoch. With 0 (published) the coarse spins are not normalized after the degradation."""
    dropped: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of coarse pixels to drop at random in every epoch; they are zero in the input and excluded from the
    loss."""
    length_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the penalty (|S|^2 - 1)^2 in the loss, which favours fine spins of length 1 (a variant)."""
    torque_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the penalty |S x F|^2 / J^2 in the loss, which favours fine spins in equilibrium under the dataset's
    Hamiltonian, as annealed spins are. This variant uses more information than the published network."""

    def check(self, network: SuperResolutionNetConfig, shape: tuple[int, int]) -> None:
        """Check that a network can be trained for this objective.

        Args:
            network: the config of the network.
            shape: rows and columns of the fine lattice.

        Raises:
            InputError: the lattice doesn't fit the network or the degradation, or `network.residual` is set and differs
                from the degradation.
        """
        network.check_lattice(shape)
        self.degradation.check_lattice(shape, network.scale)
        if network.residual not in (None, self.degradation):
            differences = differing(network.residual.to_table(), self.degradation.to_table())
            listed = ", ".join(f"{key}: {here!r}, not {there!r}" for key, here, there in differences)
            raise InputError(
                "network.residual",
                f"differs from objective.degradation ({listed})",
                "give both the same values",
            )

    def build(self, network: SuperResolutionNetConfig, source: SampleSource) -> SuperResolutionCriterion:
        """Build the criterion for a dataset."""
        exact = ExactField(source.hamiltonian, source.shape) if self.torque_weight else None
        return SuperResolutionCriterion(self, network.scale, exact)


class SuperResolutionCriterion(nn.Module):
    """The criterion of `SuperResolutionObjective` at one scale.

    Attributes:
        objective: the objective.
        degrade: the degradation.
        exact: the exact effective field, if the loss includes the torque.
    """

    def __init__(self, objective: SuperResolutionObjective, scale: int, exact: ExactField | None) -> None:
        super().__init__()
        self.objective = objective
        self.degrade = Degrade(objective.degradation, scale)
        self.exact = exact

    def network(self, config: SuperResolutionNetConfig) -> SuperResolutionNet:
        """Build the network with initial weights drawn from torch's global generator."""
        return config.build()

    def coarse(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The network's input, (N, 3, Y / scale, X / scale), and a mask of kept pixels, 1 or 0.

        The mask is (N, 1, Y / scale, X / scale), or a scalar 1 if no pixels are dropped.
        """
        coarse_NCYX: Tensor = self.degrade(batch.spins_NCYX)
        pixels = (coarse_NCYX.shape[-2], coarse_NCYX.shape[-1])
        if self.objective.noise_amplitude:
            noise_NCYX = batch.directions("noise", pixels)
            coarse_NCYX = normalize(coarse_NCYX + self.objective.noise_amplitude * noise_NCYX, dim=1)
        if not self.objective.dropped:
            return coarse_NCYX, coarse_NCYX.new_ones(())
        kept_NCYX = (batch.uniforms("dropped", pixels) >= self.objective.dropped).to(coarse_NCYX.dtype)
        return coarse_NCYX * kept_NCYX, kept_NCYX

    def loss(self, network: Forward, batch: Batch) -> Tensor:
        """Mean squared error of the degraded output against the input, plus the weighted penalties."""
        coarse_NCYX, kept_NCYX = self.coarse(batch)
        fine_NCYX = network(coarse_NCYX)
        return self._coarse_mse(fine_NCYX, coarse_NCYX, kept_NCYX) + self._penalty(fine_NCYX)

    def _coarse_mse(self, fine_NCYX: Tensor, coarse_NCYX: Tensor, kept_NCYX: Tensor) -> Tensor:
        # Divided by the expected fraction of kept pixels, because the actual one differs between ranks.
        return mse_loss(self.degrade(fine_NCYX) * kept_NCYX, coarse_NCYX) / (1 - self.objective.dropped)

    def _penalty(self, fine_NCYX: Tensor) -> Tensor:
        penalty = fine_NCYX.new_zeros(())
        if self.objective.length_weight:
            excess = fine_NCYX.square().sum(dim=1) - 1
            penalty = penalty + self.objective.length_weight * excess.square().mean()
        if self.exact is not None:
            torque = torch.linalg.cross(fine_NCYX, self.exact(fine_NCYX), dim=1)
            penalty = penalty + self.objective.torque_weight * torque.square().sum(dim=1).mean()
        return penalty

    def figures(self, network: Forward, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error of coarse spins, and the mean squared error and correlation of fine spins.

        The loss never uses the true fine spins.
        """
        coarse_NCYX, kept_NCYX = self.coarse(batch)
        fine_NCYX = network(coarse_NCYX)
        return {
            "validation_loss": self._coarse_mse(fine_NCYX, coarse_NCYX, kept_NCYX),
            "fine_mse": mse_loss(fine_NCYX, batch.spins_NCYX),
            "fine_correlation": (fine_NCYX * batch.spins_NCYX).sum(dim=1).mean(),
        }
