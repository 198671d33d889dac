"""The recursive process of the 2021 paper.

In each iteration the network estimates the effective field F* of the spins, a function "modify" turns it into F', and a
function "evolve" computes the next spins from F'. An experiment is a choice of these two functions. The process is not
a simulation: it repairs, denoises and generates spin textures because the network favours typical ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.models import FieldNet, apply
from rayspin.physics import energy
from rayspin.physics.arguments import COLDEST, HOTTEST, STRONGEST, number, spin_field, vector, whole
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.rng import Seed, address_of, generator

Spins = npt.NDArray[np.float32]
Float = TypeVar("Float", np.float32, np.float64)
Modify = Callable[[Spins, Spins, int], Spins]
"""A function of F*, the spins and the iteration that returns F'; all arrays are (N, Y, X, 3)."""
Evolve = Callable[[Spins, Spins, int], Spins]
"""A function of F', the spins and the iteration that returns the next spins; all arrays are (N, Y, X, 3)."""


@dataclass(frozen=True)
class Recursion:
    """The states of a recursive process, including the initial one.

    Attributes:
        spins_INYXC: (iterations + 1, N, Y, X, 3) spins at each iteration.
        energies_IN: (iterations + 1, N) energy per site under the true Hamiltonian, J.
    """

    spins_INYXC: Spins
    energies_IN: npt.NDArray[np.float64]


def recurse(
    network: FieldNet,
    spins_NYXC: npt.ArrayLike,
    iterations: int,
    hamiltonian: HamiltonianLike,
    *,
    modify: Modify | None = None,
    evolve: Evolve | None = None,
) -> Recursion:
    """Run the recursive process and keep every step.

    Args:
        network: the network that estimates the field.
        spins_NYXC: (N, Y, X, 3) initial spins of any length, for example noisy, defective or with a single nonzero
            component; or a single field (Y, X, 3), for which the result has no axis N.
        iterations: number of iterations.
        hamiltonian: the true Hamiltonian, used only to compute energies.
        modify: the function that turns F* into F'; None leaves F* unchanged.
        evolve: the function that computes the next spins from F'; None is `align`, the paper's choice.

    Raises:
        InputError: the spins, the network or the Hamiltonian are invalid.
    """
    spins = spin_field(spins_NYXC).astype(np.float32, copy=False)
    steps = [spins, *iterate(network, spins, iterations, modify=modify, evolve=evolve)]
    energies = np.stack([energy(spins, hamiltonian) for spins in steps])
    return Recursion(np.stack(steps), energies)


def iterate(
    network: FieldNet,
    spins_NYXC: npt.ArrayLike,
    iterations: int,
    *,
    modify: Modify | None = None,
    evolve: Evolve | None = None,
) -> Iterator[Spins]:
    """Run the recursive process and yield the spins after each iteration, for runs too long to keep in memory.

    Args:
        network: the network that estimates the field.
        spins_NYXC: (N, Y, X, 3) initial spins, or a single field (Y, X, 3).
        iterations: number of iterations.
        modify: the function that turns F* into F'; None leaves F* unchanged.
        evolve: the function that computes the next spins from F'; None is `align`, the paper's choice.

    Raises:
        InputError: the spins, the network or the number of iterations are invalid.
    """
    spins = spin_field(spins_NYXC).astype(np.float32, copy=False)
    for iteration in range(1, whole("iterations", iterations, 0) + 1):
        field_NYXC = apply(network, spins)
        if modify is not None:
            field_NYXC = modify(field_NYXC, spins, iteration)
        spins = (evolve or align)(field_NYXC, spins, iteration)
        yield spins


def external_field(field: npt.ArrayLike) -> Modify:
    """F' = F* + H, which adds a uniform external field that the training data didn't have.

    Args:
        field: H as (x, y, z), J.

    Raises:
        InputError: the field is not a vector.
    """
    added = np.array(vector("external_field", field), np.float32)
    return lambda field_NYXC, _spins, _iteration: field_NYXC + added


def anisotropy(strength: float, axis: npt.ArrayLike = (0.0, 0.0, 1.0)) -> Modify:
    """F' = F* + 2 K (S . n) n, which adds a uniaxial anisotropy that the training data didn't have.

    Args:
        strength: K, J; the axis is easy for K > 0.
        axis: direction of n; it is normalized.

    Raises:
        InputError: the strength is out of range, or the axis is not a vector or is zero.
    """
    direction = vector("axis", axis)
    if not any(direction):
        raise InputError("axis", f"{direction} has no direction", "give a vector of length 1")
    unit = np.array(direction, np.float32) / np.float32(np.linalg.norm(direction))
    factor = np.float32(2 * number("strength", strength, -STRONGEST, STRONGEST))
    return lambda field_NYXC, spins_NYXC, _iteration: field_NYXC + factor * (spins_NYXC @ unit)[..., None] * unit


def langevin(amplitude: float, seed: Seed) -> Modify:
    """F' = F* plus a fluctuating field, whose components are independent Gaussian random numbers.

    Args:
        amplitude: standard deviation of each component, J.
        seed: address of the random stream, the root seed first; the iteration is appended to it.

    Raises:
        InputError: the amplitude or the seed is invalid.
    """
    amplitude, address = number("amplitude", amplitude, 0, STRONGEST), address_of(seed)

    def modify(field_NYXC: Spins, _spins: Spins, iteration: int) -> Spins:
        fluctuations = generator("langevin", (*address, iteration)).standard_normal(field_NYXC.shape, np.float32)
        return field_NYXC + np.float32(amplitude) * fluctuations

    return modify


def align(field_NYXC: Spins, spins_NYXC: Spins, iteration: int) -> Spins:  # noqa: ARG001
    """Align each spin with its field, S' = F' / |F'| (the greedy method); spins in zero field stay unchanged.

    Args:
        field_NYXC: F', J.
        spins_NYXC: the spins.
        iteration: not used.
    """
    length, direction = _polar(field_NYXC)
    return np.where(length > 0, direction, spins_NYXC)


def thermal(temperature: float, seed: Seed) -> Evolve:
    """Draw each spin from the Boltzmann distribution in its field, exp(S . F' / T).

    Args:
        temperature: T, J / k_B, above 0; the limit T = 0 is `align`.
        seed: address of the random stream, the root seed first; the iteration is appended to it.

    Raises:
        InputError: the temperature or the seed is invalid.
    """
    temperature, address = number("temperature", temperature, COLDEST, HOTTEST), address_of(seed)

    def evolve(field_NYXC: Spins, _spins: Spins, iteration: int) -> Spins:
        stream = generator("thermal", (*address, iteration))
        length, direction = _polar(field_NYXC.astype(np.float64))
        uniform = stream.random(length.shape)
        ratio = np.maximum(length / temperature, 1e-12)
        # Inverse transform sampling of the cosine of the angle, whose density is exponential on [-1, 1].
        along = 1 + np.log(uniform + (1 - uniform) * np.exp(-2 * ratio)) / ratio
        random = stream.standard_normal(field_NYXC.shape)
        _, across = _polar(random - (random * direction).sum(axis=-1, keepdims=True) * direction)
        drawn = along * direction + np.sqrt(np.maximum(1 - along**2, 0)) * across
        return np.where(length > 0, drawn, _polar(random)[1]).astype(np.float32)

    return evolve


def landau_lifshitz_gilbert(time: float, damping: float) -> Evolve:
    """Evolve each spin by dS/dt = -(S x F' + damping S x (S x F')) / (1 + damping^2).

    The equation is solved exactly for a constant field, so the step is stable for any time and preserves unit length.

    Args:
        time: length of the step, in units of 1 / (gyromagnetic ratio x J).
        damping: the damping constant, dimensionless.

    Raises:
        InputError: the time or the damping is out of range.
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
    """Lengths (..., 1) and directions (..., 3) of vectors; the direction of a zero vector is zero."""
    length: npt.NDArray[Float] = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    return length, np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
