"""What a network is trained for: its loss, and the figures that validation watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Protocol, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.models import Degrade, EffectiveFieldNetConfig, SuperResolutionNetConfig
from rayspin.physics import Degradation
from rayspin.rundir import differing
from rayspin.training.data import Batch, SampleSource
from rayspin.training.field import ExactField

Forward = Callable[[Tensor], Tensor]
"""A network, or what stands for one: NCYX to NCYX, float32."""


class Task(Protocol):
    """An objective for one dataset; a module, since it has tensors to move to the device."""

    def to(self, device: torch.device) -> Self:
        """The task on a device."""

    def loss(self, network: Forward, batch: Batch) -> Tensor:
        """The mean loss of a batch."""

    def figures(self, network: Forward, batch: Batch) -> dict[str, Tensor]:
        """Means over a validation batch, by name; "validation_loss" is the one that choices are made by."""


class Objective(Protocol):
    """What a network is trained for, as a config that knows its networks."""

    measured: ClassVar[tuple[str, ...]]
    """The names of what its task measures in validation."""

    def check(self, network: Any, shape: tuple[int, int]) -> None:
        """Raise InputError unless the network can be trained for this on a lattice of (rows, columns)."""

    def build(self, network: Any, source: SampleSource) -> Task:
        """The objective for a dataset, on the CPU."""

    def to_table(self) -> dict[str, Any]:
        """The objective as plain tables."""


class FieldObjective(Config):
    """Mean squared error of the estimated field F* against the exact F (2021 paper)."""

    measured: ClassVar[tuple[str, ...]] = (
        "validation_loss",
        *(f"validation_mse_{name}" for name in "xyz"),
        "energy_ratio",
    )

    def check(self, network: EffectiveFieldNetConfig, shape: tuple[int, int]) -> None:
        """Raise InputError unless the network can be trained for this on a lattice of (rows, columns)."""
        network.check_lattice(shape)

    def build(self, network: EffectiveFieldNetConfig, source: SampleSource) -> FieldTask:  # noqa: ARG002
        """The objective for a dataset; every network has the same."""
        return FieldTask(ExactField(source.hamiltonian, source.shape))


class FieldTask(nn.Module):
    """`FieldObjective` with the exact field of one Hamiltonian."""

    def __init__(self, exact: ExactField) -> None:
        super().__init__()
        self.exact = exact

    def loss(self, network: Forward, batch: Batch) -> Tensor:
        """MSE of F* against F, J^2."""
        return mse_loss(network(batch.spins_NCYX), self.exact(batch.spins_NCYX))

    def figures(self, network: Forward, batch: Batch) -> dict[str, Tensor]:
        """MSE, J^2, whole and by component, and the ratio of the energies that F* and F give."""
        estimate = network(batch.spins_NCYX)
        truth = self.exact(batch.spins_NCYX)
        squares = (estimate - truth).square().mean(dim=(0, 2, 3))
        energy = self.exact.energy
        ratio = energy(batch.spins_NCYX, estimate) / energy(batch.spins_NCYX, truth)
        components = {f"validation_mse_{name}": square for name, square in zip("xyz", squares)}
        return {"validation_loss": squares.mean(), **components, "energy_ratio": ratio.mean()}


class SuperResolutionObjective(Config):
    """Mean squared error of the degraded output against the coarse input (2023): it needs no fine spins."""

    measured: ClassVar[tuple[str, ...]] = ("validation_loss", "fine_mse", "fine_correlation")

    degradation: Degradation = Degradation()
    """How coarse spins come of fine ones, in the data and in the loss alike."""
    noise_amplitude: Annotated[float, Field(ge=0)] = 0.0
    """alpha of the noise in the coarse data, S' = (S + alpha R) / |S + alpha R| with R random unit vectors,
    new in
    every epoch; at 0 (published) the coarse spins stay as the degradation leaves them, not normalized."""
    dropped: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the coarse pixels that are lost, new ones in every epoch: zero in the input, absent from the loss."""
    length_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of (|S|^2 - 1)^2 of the fine spins in the loss: spins have length 1 (a variant)."""
    torque_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of |S x F|^2 / J^2 of the fine spins in the loss: annealed spins are in equilibrium under the Hamiltonian
    of the dataset (a variant, which knows more than the published network)."""

    def check(self, network: SuperResolutionNetConfig, shape: tuple[int, int]) -> None:
        """Raise InputError unless the network can be trained for this on fine (rows, columns)."""
        network.check_lattice(shape)
        self.degradation.check_lattice(shape, network.scale)
        if network.residual not in (None, self.degradation):
            differences = differing(network.residual.to_table(), self.degradation.to_table())
            told = ", ".join(f"{key} is {here!r} here and {there!r} there" for key, here, there in differences)
            raise InputError(
                "network.residual",
                f"undoes another degradation than objective.degradation ({told})",
                "make them the same",
            )

    def build(self, network: SuperResolutionNetConfig, source: SampleSource) -> SuperResolutionTask:
        """The objective for a dataset."""
        exact = ExactField(source.hamiltonian, source.shape) if self.torque_weight else None
        return SuperResolutionTask(self, network.scale, exact)


class SuperResolutionTask(nn.Module):
    """`SuperResolutionObjective` at one scale, with the exact field where the torque counts."""

    def __init__(self, objective: SuperResolutionObjective, scale: int, exact: ExactField | None) -> None:
        super().__init__()
        self.objective = objective
        self.degrade = Degrade(objective.degradation, scale)
        self.exact = exact

    def coarse(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The network's input, (N, 3, Y / scale, X / scale), and which of its pixels count, 1 or 0, (N, 1, ...)."""
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
        """MSE of the degraded output against the input, and what the weights add."""
        coarse_NCYX, kept_NCYX = self.coarse(batch)
        fine_NCYX = network(coarse_NCYX)
        return self._coarse_mse(fine_NCYX, coarse_NCYX, kept_NCYX) + self._penalty(fine_NCYX)

    def _coarse_mse(self, fine_NCYX: Tensor, coarse_NCYX: Tensor, kept_NCYX: Tensor) -> Tensor:
        # Over the pixels expected to be kept: their number in the batch differs from rank to rank.
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
        """MSE of coarse spins, and what no loss ever sees: MSE and correlation with the true fine spins."""
        coarse_NCYX, kept_NCYX = self.coarse(batch)
        fine_NCYX = network(coarse_NCYX)
        return {
            "validation_loss": self._coarse_mse(fine_NCYX, coarse_NCYX, kept_NCYX),
            "fine_mse": mse_loss(fine_NCYX, batch.spins_NCYX),
            "fine_correlation": (fine_NCYX * batch.spins_NCYX).sum(dim=1).mean(),
        }
