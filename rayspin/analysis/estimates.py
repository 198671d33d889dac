"""Estimates of the effective field that a recursion follows: those of networks, and the exact field for comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from rayspin.errors import InputError, shown
from rayspin.models import FieldNet, apply
from rayspin.physics import Hamiltonian, effective_field
from rayspin.physics.hamiltonian import HamiltonianLike

Spins = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Estimate:
    """An estimate of the effective field of spins, without its isotropic part if `isotropic` is not 0.

    An isotropic part c S exerts no torque, so a recursion may leave it out; it then follows f* = F* - c S.

    Attributes:
        function: function of spins (N, Y, X, 3) that returns a field in the same shape, J.
        isotropic: c of the part c S that the function leaves out, J: F* = function(S) + c S.
    """

    function: Callable[[Spins], Spins]
    isotropic: float = 0.0

    def __call__(self, spins_NYXC: Spins) -> Spins:
        """Return the output of the function for spins (N, Y, X, 3), J."""
        return self.function(spins_NYXC)

    @classmethod
    def of(cls, estimate: object) -> Estimate:
        """Return the estimate that an argument stands for.

        Args:
            estimate: an estimate, a network, or a function that returns the whole field.

        Raises:
            InputError: the argument is none of these.
        """
        if isinstance(estimate, Estimate):
            return estimate
        if isinstance(estimate, nn.Module):
            return network_output(estimate)
        if not callable(estimate):
            remedy = "give a network, or a function of spins (N, Y, X, 3)"
            raise InputError("estimate", f"{shown(estimate)} is not an estimate of a field", remedy)
        return cls(estimate)


def network_output(network: nn.Module) -> Estimate:
    """Return the output of a network as an estimate, on its device.

    Args:
        network: a network that estimates effective fields; any other module is taken to give the whole field.
    """
    isotropic = network.output.isotropic if isinstance(network, FieldNet) else 0.0
    return Estimate(lambda spins_NYXC: apply(network, spins_NYXC), isotropic)


def exact_field(hamiltonian: HamiltonianLike) -> Estimate:
    """Return the exact field F of a Hamiltonian in place of an estimate.

    Args:
        hamiltonian: the Hamiltonian.

    Raises:
        InputError: the Hamiltonian is invalid.
    """
    exact = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    return Estimate(lambda spins_NYXC: effective_field(spins_NYXC, exact))


def exact_deviation(hamiltonian: HamiltonianLike) -> Estimate:
    """Return f = F - c S, the exact field without that of the exchange in a uniform state, c = 4 J.

    A recursion that aligns spins with the exact f destroys clean textures. The recursion of a network preserves them,
    because its output differs from f.

    Args:
        hamiltonian: the Hamiltonian.

    Raises:
        InputError: the Hamiltonian is invalid.
    """
    exact = Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    share = np.float32(exact.isotropic)
    return Estimate(lambda spins_NYXC: effective_field(spins_NYXC, exact) - share * spins_NYXC, exact.isotropic)
