"""The recursive process of the 2021 paper: spins, network, F*, modify, F', evolve, spins, and so on.

Modify and evolve are plain functions of fields and spins; an experiment is a choice of two. What
it does is no simulation: the network draws typical textures, and repairs, denoises and generates by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.models import EffectiveFieldNet, apply
from rayspin.physics import energy
from rayspin.physics.arguments import COLDEST, HOTTEST, STRONGEST, number, spin_field, vector, whole
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.rng import Seed, address_of, generator

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
    spins_NYXC: npt.ArrayLike,
    iterations: int,
    hamiltonian: HamiltonianLike,
    *,
    modify: Modify | None = None,
    evolve: Evolve | None = None,
) -> Recursion:
    """Run the recursive process and keep every step; arguments as in `iterate`.

    Args:
        network: the field's estimator.
        spins_NYXC: the initial spins, (N, Y, X, 3), of any length: noisy, defective, one component only; or those of
            one field, (Y, X, 3), and then there is no axis N in the result either.
        iterations: how often.
        hamiltonian: the true one, for the energies; the process itself knows none.
        modify: what is done to F*; None for nothing.
        evolve: how spins follow the field; None for `align`, the paper's choice.

    Raises:
        InputError: spins, network or Hamiltonian that can't be used.
    """
    spins = spin_field(spins_NYXC).astype(np.float32, copy=False)
    steps = [spins, *iterate(network, spins, iterations, modify=modify, evolve=evolve)]
    energies = np.stack([energy(spins, hamiltonian) for spins in steps])
    return Recursion(np.stack(steps), energies)


def iterate(
    network: EffectiveFieldNet,
    spins_NYXC: npt.ArrayLike,
    iterations: int,
    *,
    modify: Modify | None = None,
    evolve: Evolve | None = None,
) -> Iterator[Spins]:
    """The spins after each iteration, one at a time, for runs too long to keep."""
    spins = spin_field(spins_NYXC).astype(np.float32, copy=False)
    for iteration in range(1, whole("iterations", iterations, 0) + 1):
        field_NYXC = apply(network, spins)
        if modify is not None:
            field_NYXC = modify(field_NYXC, spins, iteration)
        spins = (evolve or align)(field_NYXC, spins, iteration)
        yield spins


def external_field(field: npt.ArrayLike) -> Modify:
    """F' = F* + H: a uniform external field (x, y, z) that the training data did not have, J."""
    added = np.array(vector("external_field", field), np.float32)
    return lambda field_NYXC, _spins, _iteration: field_NYXC + added


def anisotropy(strength: float, axis: npt.ArrayLike = (0.0, 0.0, 1.0)) -> Modify:
    """F' = F* + 2 K (S . n) n: a uniaxial anisotropy, J, that the training data did not have; easy for K > 0."""
    direction = vector("axis", axis)
    if not any(direction):
        raise InputError("axis", f"{direction} is no direction", "give a vector of length 1")
    unit = np.array(direction, np.float32) / np.float32(np.linalg.norm(direction))
    factor = np.float32(2 * number("strength", strength, -STRONGEST, STRONGEST))
    return lambda field_NYXC, spins_NYXC, _iteration: field_NYXC + factor * (spins_NYXC @ unit)[..., None] * unit


def langevin(amplitude: float, seed: Seed) -> Modify:
    """F' = F* + a fluctuating field, whose components are independent Gaussians of this standard deviation, J.

    Args:
        amplitude: the standard deviation.
        seed: address of the fluctuations, the root seed first; each iteration has its own.
    """
    amplitude, address = number("amplitude", amplitude, 0, STRONGEST), address_of(seed)

    def modify(field_NYXC: Spins, _spins: Spins, iteration: int) -> Spins:
        fluctuations = generator("langevin", (*address, iteration)).standard_normal(field_NYXC.shape, np.float32)
        return field_NYXC + np.float32(amplitude) * fluctuations

    return modify


def align(field_NYXC: Spins, spins_NYXC: Spins, iteration: int) -> Spins:  # noqa: ARG001
    """Each spin along its field, S' = F' / |F'| (the greedy method); in no field it stays."""
    length, direction = _polar(field_NYXC)
    return np.where(length > 0, direction, spins_NYXC)


def thermal(temperature: float, seed: Seed) -> Evolve:
    """Each spin drawn from the Boltzmann distribution in its field, exp(S . F' / T).

    Args:
        temperature: T, J / k_B, above 0 (`align` is its limit).
        seed: address of the draws, the root seed first; each iteration has its own.
    """
    temperature, address = number("temperature", temperature, COLDEST, HOTTEST), address_of(seed)

    def evolve(field_NYXC: Spins, _spins: Spins, iteration: int) -> Spins:
        stream = generator("thermal", (*address, iteration))
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
    damping = number("damping", damping, -STRONGEST, STRONGEST)
    rate = number("time", time, -STRONGEST, STRONGEST) / (1 + damping**2)

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
