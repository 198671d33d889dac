"""What is applied to spins: the estimate of a field, the recursive process, or the reconstruction of fine spins."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rayspin.analysis.estimates import Estimate
from rayspin.analysis.recursive import iterate
from rayspin.analysis.recursive_steps import align
from rayspin.config import build, suggestion
from rayspin.errors import InputError
from rayspin.imaging.inputs import Input
from rayspin.imaging.tiles import Tiling
from rayspin.models import FieldNet, FineNet, apply, load_weights, pretrained_file, weights_info
from rayspin.models.shipped import pretrained_names
from rayspin.physics import Degradation, Hamiltonian, effective_field
from rayspin.physics.hamiltonian import HamiltonianLike
from rayspin.reconstruction import METHODS, NETWORK, reconstruct
from rayspin.training import BEST

Spins = npt.NDArray[np.float32]

_FINE_MARGIN = 16
_FINE_SIDE = 256
"""Margin and largest side of the tiles of coarse images, pixels."""

_COMPLETING = 2
"""Iterations in which S_z is kept. Labyrinths whose S_z has normal noise of 0, 0.1 and 0.3 then get fields with mean
squared errors of 0.007, 0.007 and 0.016 J^2, of 5.6 J^2; further iterations don't change that."""
_SHORTEST = 1e-9

_WITH_SPECTRUM = ("wiener", "map-fit")
"""Methods that need more than an image: fine fields, or several images of the same material."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What is applied to spins.

    Attributes:
        title: what it does, in a few words.
        origin: where it comes from, by name: a weight file and its digest, or a method.
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
class FieldEstimate(Operation):
    """The effective field of spins, estimated by a network, or the spins after iterations of the recursive process.

    S_z alone is completed before its field is estimated: from (0, 0, S_z), iterations of the recursive process with S_z
    kept, and a last one that keeps nothing and so removes noise. The recursive process itself starts from (0, 0, S_z).

    Attributes:
        network: the network.
        iterations: number of iterations; 0 for the field.
        side: largest side of a tile with its margins, sites.
    """

    network: FieldNet
    iterations: int = 0
    side: int = 1024

    def __call__(self, given: Input) -> Spins:
        """Return F*, J, or the spins after the iterations, (N, Y, X, 3)."""
        network, stride = self.network, self.network.config.stride
        margin = -(-network.config.reach // stride) * stride
        tiling = Tiling(given.edges, margin, stride, side=max(self.side, 4 * margin))

        def output(spins_NYXC: Spins) -> Spins:
            return np.stack([tiling.apply(lambda tile: apply(network, tile), spins) for spins in spins_NYXC])

        estimate = Estimate(output, network.output.isotropic)
        spins_NYXC = all_components(given.spins_NYXC)
        if self.iterations:
            return _last(iterate(spins_NYXC, estimate, self.iterations))
        if given.spins_NYXC.shape[-1] == 1:
            kept = partial(_align_in_plane, given.spins_NYXC, given.known_NYX)
            both = _last(iterate(spins_NYXC, estimate, _COMPLETING, evolve=kept))
            spins_NYXC = _last(iterate(both, estimate, 1))
        return output(spins_NYXC) + np.float32(estimate.isotropic) * spins_NYXC

    def truth(self, spins_NYXC: Spins, hamiltonian: Hamiltonian) -> Spins:
        """Return the exact field, J, or the spins themselves."""
        return spins_NYXC if self.iterations else effective_field(spins_NYXC, hamiltonian)


@dataclass(frozen=True, kw_only=True)
class FineSpins(Operation):
    """Fine spins, reconstructed from coarse ones by a network or by a method of `rayspin.reconstruction`.

    Attributes:
        method: name of the method, or "network".
        options: further arguments of `reconstruct`.
        degradation: the degradation of the coarse spins.
        stride: the method takes coarse images whose sides are multiples of it.
    """

    method: str = NETWORK
    options: Mapping[str, Any] | None = None
    degradation: Degradation = field(default_factory=Degradation)
    stride: int = 2

    def __call__(self, given: Input) -> Spins:
        """Return fine spins, (N, scale Y, scale X, 3), or (..., 1) if the method makes S_z alone from S_z alone."""
        margin = -(-_FINE_MARGIN // self.stride) * self.stride
        tiling = Tiling(given.edges, margin, self.stride, self.scale, _FINE_SIDE)
        unknown = not given.known_NYX.all()

        def fine(tile_YXC: Spins) -> Spins:
            spins, known = tile_YXC[..., :-1], tile_YXC[..., -1] > 0
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
            return found.spins

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
    """Return what a name means.

    Args:
        what: a weight file, the folder of a training, the name of a network of this package, or of a method of
            `rayspin.reconstruction`.
        iterations: number of iterations of the recursive process, for a network that estimates fields.
        scale: fine sites per coarse pixel along each axis, for a method; a network has its own.
        hamiltonian: the Hamiltonian of the spins. By default that of the network's training data, if it is known.
        noise: amplitude of the noise of coarse spins; None estimates it. See `reconstruct`.

    Raises:
        InputError: it is none of these, or an argument is missing or not used.
    """
    given = None if hamiltonian is None else Hamiltonian.from_argument(hamiltonian, "hamiltonian")
    if str(what) in METHODS:
        return _method(str(what), scale, given, noise, iterations)
    path = _weights_file(what)
    network, data = load_weights(path), weights_info(path)["provenance"].get("data", {})
    known = data.get("hamiltonian")
    hamiltonian = given if given or known is None else build(Hamiltonian, known, f"{path}: hamiltonian")
    origin = {"weights": str(what), "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if isinstance(network, FineNet):
        _not_used({"iterations": iterations or None}, "the network reconstructs fine spins")
        if scale not in (None, network.config.scale):
            problem = f"is {scale}, and the network reconstructs at scale {network.config.scale}"
            raise InputError("scale", problem, "leave it out")
        title = f"fine spins at scale {network.config.scale} by {what}"
        return FineSpins(
            title=title,
            origin=origin,
            hamiltonian=hamiltonian,
            scale=network.config.scale,
            options={"network": network, "noise": noise},
            degradation=network.config.degradation,
            stride=network.config.stride // network.config.scale,
        )
    _not_used({"scale": scale, "noise": noise or None}, "the network estimates fields")
    if iterations:
        title = f"spins after {iterations} iterations of the recursive process with {what}"
        return FieldEstimate(
            title=title, origin=origin, hamiltonian=hamiltonian, network=network, iterations=iterations
        )
    title = f"effective field by {what}"
    return FieldEstimate(title=title, origin=origin, hamiltonian=hamiltonian, quantity="field", network=network)


def _align_in_plane(
    up_NYXC: Spins, known_NYX: npt.NDArray[np.bool_], field_NYXC: Spins, spins_NYXC: Spins, iteration: int
) -> Spins:
    """Return spins along the field, but with S_z as it is known; see `rayspin.analysis.recursive.iterate`."""
    aligned = align(field_NYXC, spins_NYXC, iteration)
    plane = aligned[..., :2]
    length = np.linalg.norm(plane, axis=-1, keepdims=True)
    wanted = np.sqrt(np.maximum(1 - up_NYXC**2, 0))
    kept = np.concatenate([plane * (wanted / np.maximum(length, _SHORTEST)), up_NYXC], axis=-1)
    return np.where(known_NYX[..., None], kept, aligned)


def _last(steps: Iterator[Spins]) -> Spins:
    for spins_NYXC in steps:
        last_NYXC = spins_NYXC
    return last_NYXC


def all_components(spins_NYXC: Spins) -> Spins:
    """Return spins with three components: S_z alone as (0, 0, S_z)."""
    if spins_NYXC.shape[-1] == 3:
        return spins_NYXC
    return np.concatenate([np.zeros((*spins_NYXC.shape[:-1], 2), np.float32), spins_NYXC], axis=-1)


def _method(
    name: str, scale: int | None, hamiltonian: Hamiltonian | None, noise: float | None, iterations: int
) -> FineSpins:
    _not_used({"iterations": iterations or None}, f"the method {name!r} reconstructs fine spins")
    if name in _WITH_SPECTRUM:
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


def _weights_file(what: str | Path) -> Path:
    path = Path(what)
    if str(what) in pretrained_names():
        return pretrained_file(str(what))
    if path.is_dir():
        return path / BEST
    if path.suffix != ".safetensors" and not path.exists():
        known = [*pretrained_names(), *METHODS]
        raise InputError(str(what), "is no weight file, training, network or method", suggestion(str(what), known))
    return path


def _not_used(arguments: Mapping[str, object], why: str) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise InputError(name, f"isn't used: {why}", "leave it out")
