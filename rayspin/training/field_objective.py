"""The objective of networks that estimate effective fields (2021 paper)."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import mse_loss

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.models import ExactField, FieldNet, FieldNetConfig, FieldOutput
from rayspin.physics import effective_field
from rayspin.training.damage import Damage, Share, altered
from rayspin.training.data import Batch
from rayspin.training.objectives import Criterion, Forward
from rayspin.training.sources import SampleSource

MEASURED_SAMPLES = 256
"""Largest number of training samples from which the mean square of the deviation is computed."""

_PIECE = 16
_SMALLEST = 1e-12
"""Mean square below which a deviation is rounding of F in float32, J^2."""


class FieldObjective(Config):
    """Mean squared error of the estimate against the effective field F, or against its deviation f (2021 paper).

    The deviation f = F - c S, with c = 4 * exchange, is the field without that of the exchange in a uniform state. Only
    this part is isotropic; dipole, anisotropy and external fields stay in f.
    """

    measured: ClassVar[tuple[str, ...]] = (
        "validation_loss",
        *(f"validation_mse_{name}" for name in "xyz"),
        "energy_ratio",
        "deviation_correlation",
        "relative_mse",
    )
    """The names of the validation metrics."""

    target: Literal["field", "deviation"] = "field"
    """What the network learns. "deviation" is f, normalized by its root mean square over the training data, and the
    loss is the mean squared error of the normalized f. "field" is F, and the loss is in J^2. Losses of different
    targets can't be compared; `relative_mse` can."""
    uniform_states: Share = 0.0
    """Share of the training samples that are replaced by a uniform state of a random direction."""
    damage: Damage = Damage()
    """Shares of the training samples whose input is damaged; the target stays the field of the undamaged spins."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        total = sum(self.shares.values())
        # The tolerance allows for rounding of shares whose sum is 1.
        if total > 1 + 1e-9:
            problem = f"the shares of uniform and damaged samples sum to {total:.4g}"
            raise InputError("damage", problem, "reduce them to a sum of at most 1")
        return self

    @property
    def uses_hamiltonian(self) -> bool:
        """True, because the target is the field of the Hamiltonian."""
        return True

    @property
    def shares(self) -> dict[str, float]:
        """The share of each kind of altered samples ("uniform" and the kinds of damage)."""
        return {"uniform": self.uniform_states, **dict(self.damage)}

    def check(self, network: FieldNetConfig, shape: tuple[int, int]) -> None:
        """Check that a network can be trained for this objective.

        Args:
            network: the config of the network.
            shape: rows and columns of the lattice.

        Raises:
            InputError: the lattice doesn't fit the network.
        """
        network.check_lattice(shape)

    def build(self, network: FieldNetConfig, source: SampleSource) -> FieldCriterion:  # noqa: ARG002
        """Build the criterion for a dataset; it doesn't depend on the network.

        Raises:
            InputError: the target is the deviation, and it is zero in the data.
        """
        return FieldCriterion(self, ExactField(source.hamiltonian, source.shape), source)


class FieldCriterion(Criterion):
    """The criterion of `FieldObjective` for one dataset.

    Attributes:
        objective: the objective.
        exact: the exact effective field.
        isotropic: coefficient c of the isotropic part of the field, J.
        mean_square: mean square of the components of f = F - c S over the training data, J^2.
        output: the relation of the network's output to F*.
    """

    def __init__(self, objective: FieldObjective, exact: ExactField, source: SampleSource) -> None:
        super().__init__()
        self.objective = objective
        self.exact = exact
        self.isotropic = source.hamiltonian.isotropic
        self.mean_square = _mean_square_deviation(source)
        self.output = FieldOutput()
        if objective.target == "deviation":
            if self.mean_square < _SMALLEST:
                problem = "the field has no deviation from its isotropic part in the training data"
                raise InputError("objective.target", problem, 'use target = "field", or another dataset')
            self.output = FieldOutput(isotropic=self.isotropic, scale=self.mean_square**0.5)

    def network(self, config: FieldNetConfig) -> FieldNet:
        """Build the network, whose output is the target in J, with weights from torch's global generator."""
        network = config.build()
        network.output = self.output
        return network

    def target(self, spins_NCYX: Tensor) -> Tensor:
        """What the network should give for spins: F or f, J."""
        return torch.sub(self.exact(spins_NCYX), spins_NCYX, alpha=self.output.isotropic)

    def loss(self, network: Forward, batch: Batch) -> Tensor:
        """Mean squared error against F, J^2, or against f in units of its mean square; some samples are altered."""
        clean_NCYX, given_NCYX = altered(batch, self.objective.shares)
        return mse_loss(network(given_NCYX), self.target(clean_NCYX)) / self.output.scale**2

    def figures(self, network: Forward, batch: Batch) -> dict[str, Tensor]:
        """Metrics of a batch of undamaged samples.

        Returns:
            `validation_loss` in the units of the loss; `validation_mse_x`, `_y` and `_z`, J^2; `energy_ratio`, the mean
            ratio of the energies from F* and F; `deviation_correlation`, the mean over samples of the correlation of
            F* - c S with F - c S over all sites and components; `relative_mse`, the mean squared error divided by
            the mean square of f over the training data.
        """
        spins_NCYX = batch.spins_NCYX
        estimate, truth = network(spins_NCYX), self.target(spins_NCYX)
        squares = (estimate - truth).square().mean(dim=(0, 2, 3))
        isotropic_NCYX = self.output.isotropic * spins_NCYX
        energies = [self.exact.energy(spins_NCYX, field + isotropic_NCYX) for field in (estimate, truth)]
        rest_NCYX = (self.isotropic - self.output.isotropic) * spins_NCYX
        return {
            "validation_loss": squares.mean() / self.output.scale**2,
            **{f"validation_mse_{name}": square for name, square in zip("xyz", squares)},
            "energy_ratio": (energies[0] / energies[1]).mean(),
            "deviation_correlation": _correlation(estimate - rest_NCYX, truth - rest_NCYX).mean(),
            "relative_mse": squares.mean() / max(self.mean_square, _SMALLEST),
        }


def _mean_square_deviation(source: SampleSource) -> float:
    """Mean square of the components of f over at most `MEASURED_SAMPLES` samples spread over a source, J^2."""
    count = min(len(source), MEASURED_SAMPLES)
    positions = np.linspace(0, len(source) - 1, count).round().astype(np.int64)
    isotropic = np.float32(source.hamiltonian.isotropic)
    squares = []
    for start in range(0, count, _PIECE):
        spins_NYXC = source.read(positions[start : start + _PIECE])
        deviation_NYXC = effective_field(spins_NYXC, source.hamiltonian) - isotropic * spins_NYXC
        squares.append(np.square(deviation_NYXC, dtype=np.float64).mean(axis=(1, 2, 3)))
    return float(np.concatenate(squares).mean())


def _correlation(one_NCYX: Tensor, other_NCYX: Tensor) -> Tensor:
    """Correlation of two fields over sites and components, (N,); 0 where one of them is constant."""
    one, other = (field - field.mean(dim=(1, 2, 3), keepdim=True) for field in (one_NCYX, other_NCYX))
    lengths = (one.square().sum(dim=(1, 2, 3)) * other.square().sum(dim=(1, 2, 3))).sqrt()
    return (one * other).sum(dim=(1, 2, 3)) / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)
