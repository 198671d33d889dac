"""The recursive process of the 2021 paper: spins, network, F*, modify, F', evolve, spins, and so on.

Modify and evolve are plain functions of fields and spins; an experiment is a choice of two. What
it does is no simulation: the network draws typical textures, and repairs, denoises and generates by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rayspin.models import EffectiveFieldNet, apply
from rayspin.physics import Hamiltonian, energy
from rayspin.rng import generator

Spins = npt.NDArray[np.float32]
Float = TypeVar("Float", np.float32, np.float64)
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


def external_field(vector: tuple[float, float, float]) -> Modify:
    """F' = F* + H: a uniform external field that the training data did not have, J."""
    added = np.array(vector, np.float32)
    return lambda field_NYXC, _spins, _iteration: field_NYXC + added


def anisotropy(strength: float, axis: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> Modify:
    """F' = F* + 2 K (S . n) n: a uniaxial anisotropy, J, that the training data did not have; easy for K > 0."""
    unit = np.array(axis, np.float32) / np.float32(np.linalg.norm(axis))
    factor = np.float32(2 * strength)
    return lambda field_NYXC, spins_NYXC, _iteration: field_NYXC + factor * (spins_NYXC @ unit)[..., None] * unit


def langevin(amplitude: float, seed: Sequence[int]) -> Modify:
    """F' = F* + a fluctuating field, whose components are independent Gaussians of this standard deviation, J.

    Args:
        amplitude: the standard deviation.
        seed: address of the fluctuations, the root seed first; each iteration has its own.
    """

    def modify(field_NYXC: Spins, _spins: Spins, iteration: int) -> Spins:
        fluctuations = generator("langevin", (*seed, iteration)).standard_normal(field_NYXC.shape, np.float32)
        return field_NYXC + np.float32(amplitude) * fluctuations

    return modify


def align(field_NYXC: Spins, spins_NYXC: Spins, iteration: int) -> Spins:  # noqa: ARG001
    """Each spin along its field, S' = F' / |F'| (the greedy method); in no field it stays."""
    length, direction = _polar(field_NYXC)
    return np.where(length > 0, direction, spins_NYXC)


def thermal(temperature: float, seed: Sequence[int]) -> Evolve:
    """Each spin drawn from the Boltzmann distribution in its field, exp(S . F' / T).

    Args:
        temperature: T, J / k_B, above 0 (`align` is its limit).
        seed: address of the draws, the root seed first; each iteration has its own.
    """

    def evolve(field_NYXC: Spins, _spins: Spins, iteration: int) -> Spins:
        stream = generator("thermal", (*seed, iteration))
        length, direction = _polar(field_NYXC.astype(np.float64))
        uniform = stream.random(length.shape)
        ratio = np.maximum(length / temperature, 1e-12)
        # The inverse of the distribution of cos(angle), which is exponential between -1 and 1.
        along = 1 + np.log(uniform + (1 - uniform) * np.exp(-2 * ratio)) / ratio
        random = stream.standard_normal(field_NYXC.shape)
        _, across = _polar(random - (random * direction).sum(axis=-1, keepdims=True) * direction)
        drawn = along * direction + np.sqrt(np.maximum(1 - along**2, 0)) * across
        return np.where(length > 0, drawn, _polar(random)[1]).astype(np.float32)

    return evolve


def landau_lifshitz_gilbert(time: float, damping: float) -> Evolve:
    """Each spin turned for some time by dS/dt = -(S x F' + damping S x (S x F')) / (1 + damping^2).

    The solution for a field that stands still meanwhile, so any time is stable and lengths stay; time in units of
    1 / (gyromagnetic ratio x J).
    """
    rate = time / (1 + damping**2)

    def evolve(field_NYXC: Spins, spins_NYXC: Spins, _iteration: int) -> Spins:
        length, direction = _polar(field_NYXC)
        along = (spins_NYXC * direction).sum(axis=-1, keepdims=True)
        across = spins_NYXC - along * direction
        damped, angle = np.tanh(damping * rate * length), rate * length
        turned = np.cos(angle) * across + np.sin(angle) * np.cross(direction, across)
        weight = 1 / (1 + along * damped)
        spins: Spins = weight * ((along + damped) * direction + np.sqrt(1 - damped**2) * turned)
        return spins

    return evolve


def _polar(vectors: npt.NDArray[Float]) -> tuple[npt.NDArray[Float], npt.NDArray[Float]]:
    """Lengths (..., 1) and directions (..., 3); a vector of length zero has the direction zero."""
    length: npt.NDArray[Float] = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    return length, np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
