"""The functions "modify" and "evolve" of the recursive process.

A recursion may follow a field without its isotropic part c S, which exerts no torque. Steps that depend on the length
of the field (Boltzmann sampling, the Langevin field of the alignment) need the whole field; `recurse` refuses them for
an estimate that leaves a part out, unless the part is added again.

The random numbers of a sample depend on the seed, the number of the sample and the iteration, not on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.physics.arguments import COLDEST, HOTTEST, STRONGEST, number, vector, whole
from rayspin.rng import Seed, address_of, generator

Spins = npt.NDArray[np.float32]
Float = TypeVar("Float", np.float32, np.float64)
Modify = Callable[[Spins, Spins, int], Spins]
"""A function of F*, the spins and the iteration that returns F'; all arrays are (N, Y, X, 3)."""
Evolve = Callable[[Spins, Spins, int], Spins]
"""A function of F', the spins and the iteration that returns the next spins; all arrays are (N, Y, X, 3)."""

# Shortest time step of a Langevin field, whose variance is inversely proportional to it.
_SHORTEST = 1e-6


@dataclass(frozen=True)
class WholeFieldStep:
    """A function "modify" or "evolve" that depends on the length of the field, not only on the torque.

    Attributes:
        name: name of the step, for error messages.
        function: the function.
    """

    name: str
    function: Callable[[Spins, Spins, int], Spins]

    def __call__(self, field_NYXC: Spins, spins_NYXC: Spins, iteration: int) -> Spins:
        """Return the result of the function."""
        return self.function(field_NYXC, spins_NYXC, iteration)


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


def langevin(temperature: float, time: float, damping: float, seed: Seed, *, first: int = 0) -> Modify:
    """F' = F* plus the fluctuating field of a temperature, for steps of `landau_lifshitz_gilbert`.

    The components are independent Gaussian random numbers with the variance 2 damping T / time, constant during a step
    (Brown, Phys. Rev. 130, 1677 (1963)). With the same time and damping in the equation of motion, the spins then have
    the Boltzmann distribution at T, in the limit of short steps.

    Args:
        temperature: T, J / k_B; at T = 0 there are no fluctuations.
        time: length of the step, in units of 1 / (gyromagnetic ratio x J).
        damping: the damping constant, dimensionless.
        seed: address of the random stream, the root seed first; the sample and the iteration are appended to it.
        first: number of the first sample of the batch.

    Raises:
        InputError: an argument is invalid.
    """
    temperature, damping = number("temperature", temperature, 0, HOTTEST), number("damping", damping, 0, STRONGEST)
    amplitude = math.sqrt(2 * damping * temperature / number("time", time, _SHORTEST, STRONGEST))
    draw = _normals("langevin", seed, first)
    return lambda field_NYXC, _spins, iteration: field_NYXC + np.float32(amplitude) * draw(field_NYXC.shape, iteration)


def langevin_for_alignment(temperature: float, seed: Seed, *, first: int = 0) -> Modify:
    """F' = F* plus the fluctuating field of a temperature, for the alignment S' = F' / |F'|.

    The components are independent Gaussian random numbers with the variance T |F*|. The angle between S' and F* then
    has the mean square 2 T / |F*|, as in the Boltzmann distribution of a spin in the field F*, if T << |F*|; use
    `thermal` otherwise.

    Args:
        temperature: T, J / k_B.
        seed: as in `langevin`.
        first: as in `langevin`.

    Raises:
        InputError: an argument is invalid.
    """
    root, draw = math.sqrt(number("temperature", temperature, 0, HOTTEST)), _normals("langevin", seed, first)

    def modify(field_NYXC: Spins, _spins: Spins, iteration: int) -> Spins:
        amplitude = np.float32(root) * np.sqrt(_lengths(field_NYXC))
        return field_NYXC + amplitude * draw(field_NYXC.shape, iteration)

    return WholeFieldStep("the Langevin field of the alignment", modify)


def align(field_NYXC: Spins, spins_NYXC: Spins, iteration: int) -> Spins:  # noqa: ARG001
    """Align each spin with its field, S' = F' / |F'| (the greedy method); spins in zero field stay unchanged.

    Args:
        field_NYXC: F', J.
        spins_NYXC: the spins.
        iteration: not used.
    """
    length = _lengths(field_NYXC)
    if (length > 0).all():
        aligned: Spins = field_NYXC / length
        return aligned
    return np.where(length > 0, _polar(field_NYXC)[1], spins_NYXC)


def thermal(temperature: float, seed: Seed, *, first: int = 0) -> Evolve:
    """Draw each spin from the Boltzmann distribution in its field, exp(S . F' / T).

    Args:
        temperature: T, J / k_B, above 0; the limit T = 0 is `align`.
        seed: as in `langevin`.
        first: as in `langevin`.

    Raises:
        InputError: the temperature or the seed is invalid.
    """
    temperature, address = number("temperature", temperature, COLDEST, HOTTEST), address_of(seed)
    whole("first", first, 0)

    def drawn(field_YXC: Spins, sample: int, iteration: int) -> Spins:
        stream = generator("thermal", (*address, sample, iteration))
        length, direction = _polar(field_YXC.astype(np.float64))
        uniform = stream.random(length.shape)
        ratio = np.maximum(length / temperature, 1e-12)
        # Inverse transform sampling of the cosine of the angle, whose density is exponential on [-1, 1].
        along = 1 + np.log(uniform + (1 - uniform) * np.exp(-2 * ratio)) / ratio
        random = stream.standard_normal(field_YXC.shape)
        _, across = _polar(random - (random * direction).sum(axis=-1, keepdims=True) * direction)
        drawn = along * direction + np.sqrt(np.maximum(1 - along**2, 0)) * across
        return np.where(length > 0, drawn, _polar(random)[1]).astype(np.float32)

    def evolve(field_NYXC: Spins, _spins: Spins, iteration: int) -> Spins:
        return np.stack([drawn(field, first + n, iteration) for n, field in enumerate(field_NYXC)])

    return WholeFieldStep("Boltzmann sampling", evolve)


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


def _normals(stage: str, seed: Seed, first: int) -> Callable[[tuple[int, ...], int], Spins]:
    """Return a function of a shape (N, Y, X, 3) and an iteration that draws normal random numbers for each sample."""
    address = address_of(seed)
    whole("first", first, 0)

    def draw(shape: tuple[int, ...], iteration: int) -> Spins:
        streams = (generator(stage, (*address, first + n, iteration)) for n in range(shape[0]))
        return np.stack([stream.standard_normal(shape[1:], np.float32) for stream in streams])

    return draw


def _lengths(vectors: npt.NDArray[Float]) -> npt.NDArray[Float]:
    """Return the lengths of vectors, (..., 1)."""
    squares: npt.NDArray[Float] = np.einsum("...c,...c->...", vectors, vectors)[..., None]
    return np.sqrt(squares)


def _polar(vectors: npt.NDArray[Float]) -> tuple[npt.NDArray[Float], npt.NDArray[Float]]:
    """Return lengths (..., 1) and directions (..., 3) of vectors; the direction of a zero vector is zero."""
    length = _lengths(vectors)
    return length, np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
