"""The recursive process of the 2021 paper: spins, network, F*, modify, F', evolve, spins, and so on.

Modify and evolve are plain functions of fields and spins; an experiment is a choice of two. What
it does is no simulation: the network draws typical textures, and repairs, denoises and generates by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rayspin.models import EffectiveFieldNet, apply
from rayspin.physics import Hamiltonian, energy

Spins = npt.NDArray[np.float32]
Modify = Callable[[Spins, Spins, int], Spins]
"""(F*, spins, iteration) to F', all (N, Y, X, 3)."""
Evolve = Callable[[Spins, Spins, int], Spins]
"""(F', spins, iteration) to the next spins, all (N, Y, X, 3)."""


@dataclass(frozen=True)
class Recursion:
    """A recursive process from its start on.

    Attributes:
        spins_INYXC: the spins at each iteration, the initial ones first, (iterations + 1, N, Y, X, 3).
        energies_IN: their energy per site under the true Hamiltonian, J, (iterations + 1, N).
    """

    spins_INYXC: Spins
    energies_IN: npt.NDArray[np.float64]


def recurse(
    network: EffectiveFieldNet,
    spins_NYXC: Spins,
    iterations: int,
    hamiltonian: Hamiltonian,
    *,
    modify: Modify | None = None,
    evolve: Evolve | None = None,
) -> Recursion:
    """Run the recursive process and keep every step; arguments as in `iterate`.

    Args:
        network: the field's estimator.
        spins_NYXC: the initial spins, (N, Y, X, 3), of any length: noisy, defective, one component only.
        iterations: how often.
        hamiltonian: the true one, for the energies; the process itself knows none.
        modify: what is done to F*; None for nothing.
        evolve: how spins follow the field; None for `align`, the paper's choice.
    """
    steps = [spins_NYXC, *iterate(network, spins_NYXC, iterations, modify=modify, evolve=evolve)]
    energies = np.stack([energy(spins, hamiltonian) for spins in steps])
    return Recursion(np.stack(steps), energies)


def iterate(
    network: EffectiveFieldNet,
    spins_NYXC: Spins,
    iterations: int,
    *,
    modify: Modify | None = None,
    evolve: Evolve | None = None,
) -> Iterator[Spins]:
    """The spins after each iteration, one at a time, for runs too long to keep."""
    for iteration in range(1, iterations + 1):
        field_NYXC = apply(network, spins_NYXC)
        if modify is not None:
            field_NYXC = modify(field_NYXC, spins_NYXC, iteration)
        spins_NYXC = (evolve or align)(field_NYXC, spins_NYXC, iteration)
        yield spins_NYXC


def align(field_NYXC: Spins, spins_NYXC: Spins, iteration: int) -> Spins:  # noqa: ARG001
    """Each spin along its field, S' = F' / |F'| (the greedy method); in no field it stays."""
    length = np.linalg.norm(field_NYXC, axis=-1, keepdims=True)
    return np.where(length > 0, field_NYXC / np.where(length > 0, length, 1), spins_NYXC)


def external_field(vector: tuple[float, float, float]) -> Modify:
    """F' = F* + H: a uniform external field that the training data did not have, J."""
    added = np.array(vector, np.float32)
    return lambda field_NYXC, _spins, _iteration: field_NYXC + added
