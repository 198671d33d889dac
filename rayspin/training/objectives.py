"""The interface of training objectives: the loss of a network, and the metrics of its validation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from rayspin.models import Network
from rayspin.training.data import Batch
from rayspin.training.sources import SampleSource

Forward = Callable[[Tensor], Tensor]
"""A network or an equivalent function, from NCYX to NCYX tensors, float32."""


class Criterion(nn.Module):
    """Base class of objectives for one dataset; their parameters are trained together with those of the network."""

    @abstractmethod
    def network(self, config: Any) -> Network:
        """Build the network that a config describes, with initial weights from torch's global generator."""

    @abstractmethod
    def loss(self, network: Forward, batch: Batch) -> Tensor:
        """The mean loss of a batch."""

    @abstractmethod
    def figures(self, network: Forward, batch: Batch) -> dict[str, Tensor]:
        """The mean metrics of a validation batch by name; "validation_loss" selects the best epoch."""


class Objective(Protocol):
    """The interface of an objective: the config of a loss for one kind of network."""

    measured: ClassVar[tuple[str, ...]]
    """The names of the validation metrics."""

    @property
    def uses_hamiltonian(self) -> bool:
        """Whether the loss depends on the Hamiltonian of the data."""

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
