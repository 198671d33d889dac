"""Operations on spins: the estimate of a field, the recursive process, or the reconstruction of fine spins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.imaging.inputs import Input
from rayspin.imaging.tiles import Tiling
from rayspin.physics import Degradation, Hamiltonian
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.reconstruction import METHODS, NETWORK, reconstruct

Spins = npt.NDArray[np.float32]

FINE_MARGIN = 16
"""Smallest margin of the tiles of coarse images, pixels. Labyrinths at scale 4 in tiles of 32 pixels without the margin
differ from those of the whole image by a mean square of 9e-5 (network) and 2e-5 ("fourier"), mostly near the edges of
the tiles; with a margin of 8 pixels by 4e-4 and 7e-5, and with one of 24 by 5e-5 and 6e-6."""
_FINE_SIDE = 256
"""Largest side of the tiles of coarse images, pixels."""

MORE_THAN_AN_IMAGE = ("wiener", "map-fit")
"""Methods that need more than an image: fine fields, or several images of the same material."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation on spins, by a network or by a method of reconstruction.

    Attributes:
        title: description in a few words.
        origin: source of the operation by name: a weight file and its digest, or a method.
        hamiltonian: the Hamiltonian of the spins, if it is known.
    """

    title: str
    origin: Mapping[str, str]
    hamiltonian: Hamiltonian | None

    quantity: Literal["field", "spins"] = "spins"
    scale: int = 1

    @abstractmethod
    def __call__(self, given: Input) -> Spins:
        """Return the field (J) or the spins, (N, scale Y, scale X, C)."""

    def coarse(self, spins_NYXC: Spins) -> Spins:
        """Return the input that is made from the spins of a dataset."""
        return spins_NYXC

    def truth(self, spins_NYXC: Spins, hamiltonian: Hamiltonian) -> Spins:  # noqa: ARG002
        """Return the exact result for the spins of a dataset."""
        return spins_NYXC


@dataclass(frozen=True, kw_only=True)
class FineSpins(Operation):
    """Fine spins, reconstructed from coarse ones by a network or by a method of `rayspin.reconstruction`.

    Attributes:
        method: name of the method, or "network".
        options: further arguments of `reconstruct`.
        degradation: the degradation of the coarse spins.
        stride: number of which the sides of coarse images must be multiples.
        one_component: whether it is a network that was trained on S_z alone, and therefore returns S_z alone.
    """

    method: str = NETWORK
    options: Mapping[str, Any] | None = None
    degradation: Degradation = field(default_factory=Degradation)
    stride: int = 2
    one_component: bool = False

    def __call__(self, given: Input) -> Spins:
        """Return fine spins, (N, scale Y, scale X, 3), or (..., 1) if the method returns S_z alone from S_z alone."""
        margin = -(-FINE_MARGIN // self.stride) * self.stride
        tiling = Tiling(given.edges, margin, self.stride, self.scale, _FINE_SIDE)
        unknown = not given.known_NYX.all()

        def fine(tile_YXC: Spins) -> Spins:
            spins, known = tile_YXC[..., :-1], tile_YXC[..., -1] > 0
            if self.one_component:
                spins = all_components(spins[..., -1:])
            found = reconstruct(
                spins,
                self.scale,
                self.method,
                degradation=self.degradation,
                hamiltonian=self.hamiltonian if self.method == "map" else None,
                known=known if unknown else None,
                any_length=True,
                **(self.options or {}),
            )
            return found.spins[..., 2:] if self.one_component else found.spins

        with_mask = np.concatenate([given.spins_NYXC, given.known_NYX[..., None]], axis=-1, dtype=np.float32)
        return np.stack([tiling.apply(fine, image) for image in with_mask])

    def coarse(self, spins_NYXC: Spins) -> Spins:
        """Return the degraded spins."""
        return self.degradation.apply(spins_NYXC, self.scale)


def operation(
    what: str | Path,
    *,
    iterations: int = 0,
    scale: int | None = None,
    hamiltonian: HamiltonianLike | None = None,
    noise: float | None = 0.0,
) -> Operation:
    """Return the operation with a name.

    Args:
        what: a weight file, the folder of a training, the name of a network of this package, or of a method of
            `rayspin.reconstruction`.
        iterations: number of iterations of the recursive process, for a network that estimates fields.
        scale: fine sites per coarse pixel along each axis, for a method; a network has its own.
        hamiltonian: the Hamiltonian of the spins. By default that of the network's training data, if it is known.
        noise: amplitude of the noise of coarse spins; None estimates it. See `reconstruct`.

    Raises:
        InputError: `what` is none of these, or an argument is missing or not used.
    """
    given = None if hamiltonian is None else Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    if str(what) in METHODS:
        return _method(str(what), scale, given, noise, iterations)
    # It imports PyTorch, which methods don't need.
    from rayspin.application.networks import network_operation

    return network_operation(what, iterations, scale, given, noise)


def all_components(spins_NYXC: Spins) -> Spins:
    """Return spins with three components: S_z alone as (0, 0, S_z)."""
    if spins_NYXC.shape[-1] == 3:
        return spins_NYXC
    return np.concatenate([np.zeros((*spins_NYXC.shape[:-1], 2), np.float32), spins_NYXC], axis=-1)


def _method(
    name: str, scale: int | None, hamiltonian: Hamiltonian | None, noise: float | None, iterations: int
) -> FineSpins:
    check_not_used({"iterations": iterations or None}, f"the method {name!r} reconstructs fine spins")
    if name in MORE_THAN_AN_IMAGE:
        problem = f"{name!r} needs more than an image"
        raise InputError("WEIGHTS", problem, 'use "wiener-em" or "map", or a job of kind "reconstruct"')
    if scale is None:
        raise InputError("scale", f"the method {name!r} needs one", "give --scale, fine sites per coarse pixel")
    if name == "map" and hamiltonian is None:
        raise InputError("hamiltonian", 'the method "map" needs one', 'give --hamiltonian "labyrinth" or "domain"')
    title = f'fine spins at scale {scale} by the method "{name}"'
    return FineSpins(
        title=title,
        origin={"method": name},
        hamiltonian=hamiltonian,
        scale=scale,
        method=name,
        options={"noise": noise},
    )


def check_not_used(arguments: Mapping[str, object], why: str) -> None:
    """Check that no unused argument is given.

    Args:
        arguments: arguments by name; None if they aren't given.
        why: the reason why they aren't used.

    Raises:
        InputError: one is given.
    """
    for name, value in arguments.items():
        if value is not None:
            raise InputError(name, f"isn't used: {why}", "leave it out")
