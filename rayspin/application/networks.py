"""Networks as operations: the estimate of a field, the recursive process, and fine spins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rayspin.analysis.estimates import Estimate
from rayspin.analysis.recursive import iterate
from rayspin.analysis.recursive_steps import align
from rayspin.application.operations import FineSpins, Operation, Spins, all_components, check_not_used
from rayspin.config import build, suggestion
from rayspin.errors import InputError
from rayspin.imaging.inputs import Input
from rayspin.imaging.tiles import Tiling
from rayspin.models import FieldNet, FineNet, apply, load_weights, pretrained_file, weights_info
from rayspin.models.shipped import pretrained_names
from rayspin.physics import Hamiltonian, effective_field
from rayspin.reconstruction import METHODS
from rayspin.training import BEST

_COMPLETING = 2
"""Iterations in which S_z is kept. Labyrinths whose S_z has normal noise of 0, 0.1 and 0.3 then get fields with mean
squared errors of 0.007, 0.007 and 0.016 J^2, of 5.6 J^2; further iterations don't change that."""
_SHORTEST = 1e-9


@dataclass(frozen=True, kw_only=True)
class FieldEstimate(Operation):
    """The effective field of spins, estimated by a network, or the spins after iterations of the recursive process.

    If only S_z is given, S_x and S_y are estimated before the field: iterations of the recursive process start from
    (0, 0, S_z) and keep S_z, and a last iteration without this condition removes noise. The recursive process itself
    starts from (0, 0, S_z).

    Attributes:
        network: the network.
        iterations: number of iterations; 0 for the field.
        side: largest side of a tile with its margins, sites.
        block: side of the parts, with their margins, in which larger images are processed one after the other, sites.
    """

    network: FieldNet
    iterations: int = 0
    side: int = 1024
    block: int = 4096

    def __call__(self, given: Input) -> Spins:
        """Return F*, J, or the spins after the iterations, (N, Y, X, 3)."""
        stride = self.network.config.stride
        margin = -(-self.network.config.reach // stride) * stride
        tiling = Tiling(given.edges, margin, stride, side=max(self.side, 4 * margin))
        one_component = given.one_component
        seen = margin * (self.iterations or (_COMPLETING + 2 if one_component else 1))
        if max(given.spins_NYXC.shape[1:3]) <= self.block or 4 * seen > self.block:
            return self._output(given.spins_NYXC, given.known_NYX, tiling)
        # Several arrays of a whole image of 100 megapixels would need 10 GB of memory.
        blocks = Tiling(given.edges, seen, stride, side=self.block)
        both_NYXC = np.concatenate([given.spins_NYXC, given.known_NYX[..., None]], axis=-1, dtype=np.float32)

        def block(both_YXC: Spins) -> Spins:
            found_NYXC = self._output(both_YXC[None, ..., :-1], both_YXC[None, ..., -1] > 0, tiling)
            return np.squeeze(found_NYXC, 0)

        found: Spins = np.stack([blocks.apply(block, both_YXC) for both_YXC in both_NYXC])
        return found

    def _output(self, given_NYXC: Spins, known_NYX: npt.NDArray[np.bool_], tiling: Tiling) -> Spins:
        """Return the result for images in memory.

        Args:
            given_NYXC: spins, or S_z alone.
            known_NYX: False where a pixel is unknown.
            tiling: how the network is applied.
        """
        network = self.network

        def output(spins_NYXC: Spins) -> Spins:
            return np.stack([tiling.apply(lambda tile: apply(network, tile), spins) for spins in spins_NYXC])

        estimate = Estimate(output, network.output.isotropic)
        spins_NYXC = all_components(given_NYXC)
        if self.iterations:
            return _last(iterate(spins_NYXC, estimate, self.iterations))
        if given_NYXC.shape[-1] == 1:
            kept = partial(_align_in_plane, given_NYXC, known_NYX)
            both = _last(iterate(spins_NYXC, estimate, _COMPLETING, evolve=kept))
            spins_NYXC = _last(iterate(both, estimate, 1))
        found: Spins = output(spins_NYXC) + np.float32(estimate.isotropic) * spins_NYXC
        return found

    def truth(self, spins_NYXC: Spins, hamiltonian: Hamiltonian) -> Spins:
        """Return the exact field, J, or the spins themselves."""
        return spins_NYXC if self.iterations else effective_field(spins_NYXC, hamiltonian)


def network_operation(
    what: str | Path, iterations: int, scale: int | None, hamiltonian: Hamiltonian | None, noise: float | None
) -> Operation:
    """Return a network as an operation; arguments as for `operation`.

    Raises:
        InputError: there is no such network, or an argument is not used.
    """
    path = _weights_file(what)
    network, data = load_weights(path), weights_info(path)["provenance"].get("data", {})
    known = data.get("hamiltonian")
    if hamiltonian is None and known is not None:
        hamiltonian = build(Hamiltonian, known, f"{path}: hamiltonian")
    origin = {"weights": str(what), "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if isinstance(network, FineNet):
        check_not_used({"iterations": iterations or None}, "the network reconstructs fine spins")
        if scale not in (None, network.config.scale):
            problem = f"is {scale}, and the network reconstructs at scale {network.config.scale}"
            raise InputError("scale", problem, "leave it out")
    else:
        check_not_used({"scale": scale, "noise": noise or None}, "the network estimates fields")
    return loaded_operation(
        network,
        str(what),
        origin,
        hamiltonian,
        iterations=iterations,
        noise=noise,
        one_component=data.get("components") == "z",
    )


def loaded_operation(
    network: FieldNet | FineNet,
    name: str,
    origin: Mapping[str, str],
    hamiltonian: Hamiltonian | None = None,
    *,
    iterations: int = 0,
    noise: float | None = 0.0,
    one_component: bool = False,
) -> Operation:
    """Return what a network in memory does.

    Args:
        network: the network.
        name: its name in the title.
        origin: where it comes from; see `Operation`.
        hamiltonian: the Hamiltonian of the spins, if it is known.
        iterations: number of iterations of the recursive process, for a network that estimates fields.
        noise: amplitude of the noise of coarse spins, for a network that reconstructs fine spins; None estimates it.
        one_component: whether that network was trained on S_z alone.
    """
    if isinstance(network, FineNet):
        return FineSpins(
            title=f"fine spins at scale {network.config.scale} by {name}",
            origin=origin,
            hamiltonian=hamiltonian,
            scale=network.config.scale,
            options={"network": network, "noise": noise},
            degradation=network.config.degradation,
            stride=network.config.stride // network.config.scale,
            one_component=one_component,
        )
    if iterations:
        title = f"spins after {iterations} iterations of the recursive process with {name}"
        return FieldEstimate(
            title=title, origin=origin, hamiltonian=hamiltonian, network=network, iterations=iterations
        )
    title = f"effective field by {name}"
    return FieldEstimate(title=title, origin=origin, hamiltonian=hamiltonian, quantity="field", network=network)


def _weights_file(what: str | Path) -> Path:
    path = Path(what)
    if str(what) in pretrained_names():
        return pretrained_file(str(what))
    if path.is_dir():
        return path / BEST
    if path.suffix != ".safetensors" and not path.exists():
        known = [*pretrained_names(), *METHODS]
        raise InputError(str(what), "is not a weight file, training, network or method", suggestion(str(what), known))
    return path


def _align_in_plane(
    up_NYXC: Spins, known_NYX: npt.NDArray[np.bool_], field_NYXC: Spins, spins_NYXC: Spins, iteration: int
) -> Spins:
    """Return spins along the field, but with the known S_z; see `rayspin.analysis.recursive.iterate`."""
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
