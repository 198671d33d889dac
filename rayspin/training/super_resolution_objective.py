"""The objective of networks that reconstruct fine spins (2023 paper)."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from rayspin.arrays import channel_first, channel_last
from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.models import Degrade, FineNet, FineNetConfig
from rayspin.models.starts import Start
from rayspin.physics import Degradation
from rayspin.reconstruction.noise import mean_length
from rayspin.rundir import differing
from rayspin.training.data import Batch
from rayspin.training.objectives import Criterion, Forward
from rayspin.training.sources import SampleSource
from rayspin.training.symmetry import Motions, symmetries
from rayspin.training.tiles import Tiles
from rayspin.training.torque import Strengths, Torque

START_SAMPLES = 256
"""Largest number of training samples from which the start of a network is learned."""

_PIECE = 16


class SuperResolutionObjective(Config):
    """Mean squared error of the degraded output against the coarse input (2023 paper); it needs no fine spins.

    The loss of a network with a start is in units of the mean squared error of that start, estimated from coarse
    spins; see `rayspin.models.starts.Start`.
    """

    measured: ClassVar[tuple[str, ...]] = ("validation_loss", "fine_mse", "fine_correlation")
    """The names of the validation metrics."""

    degradation: Degradation = Degradation()
    """The degradation that computes coarse spins from fine ones, in the data and in the loss."""
    target: Literal["coarse", "fine"] = "coarse"
    """What the output is compared with: "coarse" (published), its input, or "fine", the true fine spins, for data that
    were simulated."""
    equivariance: Annotated[float, Field(ge=0)] = 0.0
    """Weight of mean |S*(D X) - X|^2 in the loss, for the network's output X = S*(c), moved at random: the network
    should reconstruct fields at any position on the coarse lattice (a variant). It needs no fine spins. X is treated as
    data: no gradient passes through it."""
    motions: Literal["translations", "symmetries"] = "translations"
    """How X is moved: by fine sites, or also by rotations, reflections and spin reversals that leave the Hamiltonian
    invariant."""
    noise_amplitude: Annotated[float, Field(ge=0)] = 0.0
    """Amplitude alpha of the noise in the coarse data, S' = (S + alpha R) / |S + alpha R|, with random unit vectors R
    that change in every epoch. With 0 (published) the coarse spins are not normalized after the degradation."""
    recorrupted: bool = False
    """Whether the network is given c + n / 2 and compared with c - 2 n, for noisy coarse spins c and Gaussian noise n
    of their variance, divided by the length that the noise leaves of the mean spin. Their errors are uncorrelated,
    so the loss favors the spins without noise (a variant, for `noise_amplitude` > 0)."""
    dropped: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of coarse pixels to drop at random in every epoch; they are zero in the input and excluded from the
    loss."""
    length_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the penalty (|S|^2 - 1)^2 in the loss, which favors fine spins of length 1 (a variant)."""
    torque_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the penalty |S x F|^2 / J^2 in the loss, which favors fine spins in equilibrium under the dataset's
    Hamiltonian, as annealed spins are. This variant uses more information than the published network."""
    torque_strengths: Strengths = Field(default={}, exclude_if=lambda strengths: not strengths)
    """Terms of the Hamiltonian whose strengths the training learns together with the network, with their initial
    strengths, J: { dmi = 0.1 }. Their signs are kept. The other strengths are those of the dataset."""

    @property
    def uses_hamiltonian(self) -> bool:
        """Whether the loss has a term with the torque, or one with the symmetries of the Hamiltonian."""
        return self.torque_weight > 0 or self.motions == "symmetries"

    def check(self, network: FineNetConfig, shape: tuple[int, int]) -> None:
        """Check that a network can be trained for this objective.

        Args:
            network: the config of the network.
            shape: rows and columns of the fine lattice.

        Raises:
            InputError: the lattice doesn't fit the network or the degradation, or the network uses another degradation.
        """
        network.check_lattice(shape)
        self.degradation.check_lattice(shape, network.scale)
        if network.degrades and network.degradation != self.degradation:
            differences = differing(network.degradation.to_table(), self.degradation.to_table())
            listed = ", ".join(f"{key}: {here!r}, not {there!r}" for key, here, there in differences)
            raise InputError(
                "network.degradation",
                f"differs from objective.degradation ({listed})",
                "give both the same values",
            )
        if network.start == "wiener" and self.target != "fine":
            remedy = 'use start = "wiener-em", or target = "fine"'
            raise InputError("network.start", '"wiener" learns from fine spins, and the objective has none', remedy)
        if self.recorrupted and not self.noise_amplitude:
            raise InputError("objective.recorrupted", "the data have no noise", "set noise_amplitude, or remove it")
        if self.torque_strengths and not self.torque_weight:
            raise InputError("objective.torque_strengths", "the loss has no torque", "set torque_weight, or remove it")

    def build(self, network: FineNetConfig, source: SampleSource) -> SuperResolutionCriterion:
        """Build the criterion for a dataset, or for tiles of pictures."""
        if isinstance(source, Tiles):
            return TileCriterion(self, network, source)
        return SuperResolutionCriterion(self, network, source)

    def check_tiles(self) -> None:
        """Check that the objective needs no more than coarse pictures.

        Raises:
            InputError: it uses fine spins or a Hamiltonian, or damages the coarse spins.
        """
        plain = SuperResolutionObjective()
        for key in ("target", "motions", "noise_amplitude", "dropped", "torque_weight"):
            if getattr(self, key) != getattr(plain, key):
                raise InputError(f"objective.{key}", "is not for tiles of pictures", "remove it, or the tiles")


class SuperResolutionCriterion(Criterion):
    """The criterion of `SuperResolutionObjective` for one network and dataset.

    Attributes:
        objective: the objective.
        degrade: the degradation.
        torque: the torque of spins, if the loss includes it.
    """

    def __init__(self, objective: SuperResolutionObjective, network: FineNetConfig, source: SampleSource) -> None:
        super().__init__()
        self.objective = objective
        self.degrade = Degrade(objective.degradation, network.scale)
        self.torque = None
        if objective.torque_weight:
            self.torque = Torque(source.hamiltonian, source.shape, objective.torque_strengths)
        operations = symmetries(source.hamiltonian, source.shape) if objective.motions == "symmetries" else ()
        self._motions = Motions("equivariance", source.shape, operations)
        self._config, self._source = network, source

    @cached_property
    def start(self) -> Start | None:
        """The start of the network, learned from the training data, or None; learning takes seconds."""
        config = self._config
        if config.start is None:
            return None
        start = Start(config.start, config.start_projections, config.degradation, config.scale)
        start.learn(*self._training_data(self._source))
        return start

    def network(self, config: FineNetConfig) -> FineNet:
        """Build the network with initial weights drawn from torch's global generator, and with the learned start."""
        network = config.build()
        if network.start is not None and self.start is not None:
            network.start.load_state_dict(self.start.state_dict())
        return network

    def coarse(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The network's input, (N, 3, Y / scale, X / scale), and a mask of kept pixels, 1 or 0.

        The mask is (N, 1, Y / scale, X / scale), or a scalar 1 if no pixels are dropped.
        """
        return self._observed(batch.spins_NCYX, batch, "")

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """What the network is given, what its degraded output is compared with, and the mask; see `coarse`."""
        coarse_NCYX, kept_NCYX = self.coarse(batch)
        if not self.objective.recorrupted:
            return coarse_NCYX, coarse_NCYX, kept_NCYX
        noise_NCYX = self._recorruption(coarse_NCYX, batch, "") * kept_NCYX
        mean = float(mean_length(self.objective.noise_amplitude))
        return coarse_NCYX + noise_NCYX / 2, (coarse_NCYX - 2 * noise_NCYX) / mean, kept_NCYX

    def loss(self, network: Forward, batch: Batch) -> Tensor:
        """Mean squared error of the degraded output against the input, plus the weighted further terms."""
        given_NCYX, wanted_NCYX, kept_NCYX = self.pair(batch)
        fine_NCYX = network(given_NCYX)
        loss = self._error(fine_NCYX, wanted_NCYX, kept_NCYX, batch) + self._penalty(fine_NCYX)
        return self._in_units(loss + self._inequivariance(network, fine_NCYX, batch))

    def figures(self, network: Forward, batch: Batch) -> dict[str, Tensor]:
        """Metrics of a batch.

        Returns:
            `validation_loss`, the loss without penalties; `fine_mse` and `fine_correlation`, the mean squared error and
            correlation of the fine spins, which the loss for coarse targets never uses; `strength_dmi` and so on, the
            learned strengths of the torque, J.
        """
        given_NCYX, wanted_NCYX, kept_NCYX = self.pair(batch)
        fine_NCYX = network(given_NCYX)
        loss = self._error(fine_NCYX, wanted_NCYX, kept_NCYX, batch)
        strengths = {} if self.torque is None else self.torque.strengths()
        return {
            "validation_loss": self._in_units(loss + self._inequivariance(network, fine_NCYX, batch)),
            "fine_mse": mse_loss(fine_NCYX, batch.spins_NCYX),
            "fine_correlation": (fine_NCYX * batch.spins_NCYX).sum(dim=1).mean(),
            **{f"strength_{name}": strength for name, strength in strengths.items()},
        }

    def _observed(self, fine_NCYX: Tensor, batch: Batch, purpose: str) -> tuple[Tensor, Tensor]:
        """Coarse spins of fine ones with the defects of the data, and the mask; `purpose` names the random streams."""
        coarse_NCYX: Tensor = self.degrade(fine_NCYX)
        pixels = (coarse_NCYX.shape[-2], coarse_NCYX.shape[-1])
        if self.objective.noise_amplitude:
            noise_NCYX = batch.directions(f"{purpose}noise", pixels)
            coarse_NCYX = normalize(coarse_NCYX + self.objective.noise_amplitude * noise_NCYX, dim=1)
        if not self.objective.dropped:
            return coarse_NCYX, coarse_NCYX.new_ones(())
        kept_NCYX = (batch.uniforms(f"{purpose}dropped", pixels) >= self.objective.dropped).to(coarse_NCYX.dtype)
        return coarse_NCYX * kept_NCYX, kept_NCYX

    def _recorruption(self, coarse_NCYX: Tensor, batch: Batch, purpose: str) -> Tensor:
        """Gaussian noise of the variance of the noise in unit spins."""
        deviation = math.sqrt((1 - float(mean_length(self.objective.noise_amplitude)) ** 2) / 3)
        pixels = (coarse_NCYX.shape[-2], coarse_NCYX.shape[-1])
        return deviation * batch.normals(f"{purpose}recorruption", pixels)

    def _error(self, fine_NCYX: Tensor, coarse_NCYX: Tensor, kept_NCYX: Tensor, batch: Batch) -> Tensor:
        if self.objective.target == "fine":
            return mse_loss(fine_NCYX, batch.spins_NCYX)
        # Divided by the expected fraction of kept pixels, because the actual one differs between ranks.
        return mse_loss(self.degrade(fine_NCYX) * kept_NCYX, coarse_NCYX) / (1 - self.objective.dropped)

    def _penalty(self, fine_NCYX: Tensor) -> Tensor:
        penalty = fine_NCYX.new_zeros(())
        if self.objective.length_weight:
            excess = fine_NCYX.square().sum(dim=1) - 1
            penalty = penalty + self.objective.length_weight * excess.square().mean()
        if self.torque is not None:
            torque_NCYX = self.torque(fine_NCYX)
            penalty = penalty + self.objective.torque_weight * torque_NCYX.square().sum(dim=1).mean()
        return penalty

    def _inequivariance(self, network: Forward, fine_NCYX: Tensor, batch: Batch) -> Tensor:
        """The weighted mean squared error of the reconstruction of the output, moved and degraded again."""
        if not self.objective.equivariance:
            return fine_NCYX.new_zeros(())
        moved_NYXC = self._motions.all_moved(channel_last(fine_NCYX.detach()), batch.addresses)
        moved_NCYX = channel_first(moved_NYXC)
        coarse_NCYX, kept_NCYX = self._observed(moved_NCYX, batch, "equivariance-")
        if self.objective.recorrupted:
            coarse_NCYX = coarse_NCYX + self._recorruption(coarse_NCYX, batch, "equivariance-") * kept_NCYX / 2
        return self.objective.equivariance * self._distance(network(coarse_NCYX), moved_NCYX)

    def _distance(self, estimate_NCYX: Tensor, truth_NCYX: Tensor) -> Tensor:
        return mse_loss(estimate_NCYX, truth_NCYX)

    def _in_units(self, loss: Tensor) -> Tensor:
        return loss if self.start is None else loss / self.start.error.item() ** 2

    def _training_data(self, source: SampleSource) -> tuple[Tensor, Tensor]:
        """Coarse training spins, with the defects of the data, and fine ones, of samples spread over a source."""
        count = min(len(source), START_SAMPLES)
        positions = np.linspace(0, len(source) - 1, count).round().astype(np.int64)
        coarse, fine = [], []
        for start in range(0, count, _PIECE):
            some = positions[start : start + _PIECE]
            spins_NCYX = channel_first(torch.from_numpy(source.read(some)))
            addresses = tuple((int(sample),) for sample in source.samples[some])
            coarse.append(self.coarse(Batch(spins_NCYX, addresses))[0])
            fine.append(spins_NCYX)
        return torch.cat(coarse).contiguous(), torch.cat(fine).contiguous()


class TileCriterion(SuperResolutionCriterion):
    """The criterion for tiles of pictures, which are coarse already.

    Of S_z alone, the loss compares that component; the others are 0 in the input of the network.

    Attributes:
        measured: 1 for each measured component, else 0, (3, 1, 1).
        compared: 1 for each value of a tile that the loss compares, else 0, (3, Y, X).
    """

    measured: Tensor
    compared: Tensor

    def __init__(self, objective: SuperResolutionObjective, network: FineNetConfig, source: Tiles) -> None:
        super().__init__(objective, network, source)
        measured = torch.tensor([0.0, 0.0, 1.0] if source.one_component else [1.0, 1.0, 1.0])[:, None, None]
        size, edge = source.config.size, source.config.edge
        inside = torch.zeros(size, size)
        inside[edge : size - edge, edge : size - edge] = 1
        self.register_buffer("measured", measured, persistent=False)
        self.register_buffer("compared", measured * inside, persistent=False)

    def coarse(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The tiles, and which of their values the loss compares."""
        return batch.spins_NCYX, self.compared

    def figures(self, network: Forward, batch: Batch) -> dict[str, Tensor]:
        """The loss, `validation_loss`; the fine spins aren't known."""
        return {"validation_loss": self.loss(network, batch)}

    def _observed(self, fine_NCYX: Tensor, batch: Batch, purpose: str) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        coarse_NCYX: Tensor = self.degrade(fine_NCYX) * self.measured
        return coarse_NCYX, self.measured

    def _error(self, fine_NCYX: Tensor, coarse_NCYX: Tensor, kept_NCYX: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        return mse_loss(self.degrade(fine_NCYX) * kept_NCYX, coarse_NCYX * kept_NCYX) / kept_NCYX.mean()

    def _distance(self, estimate_NCYX: Tensor, truth_NCYX: Tensor) -> Tensor:
        return mse_loss(estimate_NCYX * self.measured, truth_NCYX * self.measured) / self.measured.mean()
