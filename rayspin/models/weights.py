"""Weight files: safetensors with the network's kind, config and provenance. Nothing in them is ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rayspin.config import build
from rayspin.errors import InputError, shown
from rayspin.inputs import parse_json
from rayspin.models.fcn import EffectiveFieldNet, EffectiveFieldNetConfig
from rayspin.models.sr import SuperResolutionNet, SuperResolutionNetConfig
from rayspin.rundir import replacing

Network: TypeAlias = EffectiveFieldNet | SuperResolutionNet
NetworkConfig: TypeAlias = EffectiveFieldNetConfig | SuperResolutionNetConfig

NETWORKS: dict[str, type[NetworkConfig]] = {
    "effective-field": EffectiveFieldNetConfig,
    "super-resolution": SuperResolutionNetConfig,
}
"""What the kinds in weight files mean."""

_KEY = "rayspin"


def save_weights(path: str | Path, network: Network, provenance: Mapping[str, Any]) -> None:
    """Write a network's weights; the file appears whole, by rename.

    Args:
        path: the file, by habit `*.safetensors`.
        network: what to keep: parameters and batch norm statistics.
        provenance: where the weights come from (data, objective, training, figures), as plain tables.

    Raises:
        InputError: no network, or one with weights that can't be used.
    """
    check_network(network, "network")
    kind = next(kind for kind, config_type in NETWORKS.items() if isinstance(network.config, config_type))
    facts = {"network": kind, "config": network.config.to_table(), "provenance": dict(provenance)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_KEY: json.dumps(facts, default=_plain)}))


def load_weights(path: str | Path) -> Network:
    """The network of a weight file, rebuilt from the config in it, in evaluation mode on the CPU.

    Raises:
        InputError: there is no such file, it is no weight file of rayspin's, or its weights can't be used.
    """
    facts, tensors = _read(path, with_tensors=True)
    config = build(NETWORKS[facts["network"]], facts["config"], str(path))
    # On a device that holds shapes only: what a spoilt config asks for need not fit into the memory.
    with torch.device("meta"):
        expected = config.build().state_dict()
    check_state(tensors, expected, str(path))
    network = config.build()
    network.load_state_dict(tensors)
    return network.eval()


def weights_info(path: str | Path) -> dict[str, Any]:
    """What a weight file says of itself: `network` (its kind), `config` and `provenance`.

    Raises:
        InputError: there is no such file, or it is no weight file of rayspin's.
    """
    return _read(path, with_tensors=False)[0]


def check_network(network: object, where: str) -> None:
    """Raise InputError, about what the user calls `where`, unless this is a network whose weights can be used."""
    if not isinstance(network, EffectiveFieldNet | SuperResolutionNet):
        raise InputError(where, f"{shown(network)} is none", "give one that load_weights returned, or a config built")
    state = network.state_dict()
    check_state(state, state, where)


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> None:
    """Check the tensors of a network before it is made, trained further, kept or exported.

    Args:
        state: the tensors, by name.
        expected: those of such a network; their shapes and types count alone.
        where: what the user calls their source.

    Raises:
        InputError: the first tensor that is missing, of no use, of another shape, or of integers in place of real
            numbers; that holds NaN or infinity, or a variance below zero.
    """
    remedy = "give weights of a training that ended well, or train it again"
    if state.keys() != expected.keys():
        name = sorted(state.keys() ^ expected.keys())[0]
        problem = "is missing" if name in expected else "belongs to no layer"
        raise InputError(where, f"the weights don't fit the network ({name} {problem})", remedy)
    for name, tensor in state.items():
        if (fault := _tensor_problem(name, tensor, expected[name])) is not None:
            raise InputError(where, fault, remedy)


def _tensor_problem(name: str, tensor: Tensor, expected: Tensor) -> str | None:
    if tensor.shape != expected.shape:
        shapes = f"{tuple(tensor.shape)}, not {tuple(expected.shape)}"
        return f"the weights don't fit the network ({name} has shape {shapes})"
    if tensor.is_floating_point() != expected.is_floating_point() or tensor.is_complex():
        return f"the weights don't fit the network ({name} has type {tensor.dtype}, not {expected.dtype})"
    if not tensor.is_floating_point():
        return None
    values = tensor.to(expected.dtype)
    if not torch.isfinite(values).all():
        return f"the weights can't be used ({name} holds NaN or infinity)"
    if name.endswith("running_var") and (values < 0).any():
        return f"the weights can't be used ({name} holds a variance below zero)"
    return None


def _read(path: str | Path, *, with_tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a weight file says of itself, and its tensors by name, if they are asked for."""
    if not Path(path).is_file():
        raise InputError(str(path), "no such file", "give a .safetensors file that a training wrote")
    try:
        with safe_open(path, framework="pt") as stream:
            facts = parse_json((stream.metadata() or {})[_KEY], str(path))
            tensors = {name: stream.get_tensor(name) for name in (stream.keys() if with_tensors else ())}
        tables = all(isinstance(facts[key], dict) for key in ("config", "provenance"))
        if facts.keys() != {"network", "config", "provenance"} or facts["network"] not in NETWORKS or not tables:
            raise KeyError(_KEY)
    except OSError as error:
        raise InputError(str(path), f"can't be read ({error.strerror})", "look at its rights and its disk") from None
    except (SafetensorError, KeyError, ValueError, AttributeError, TypeError, RecursionError):
        raise InputError(
            str(path), "no weight file of rayspin's", "give a .safetensors file that a training wrote"
        ) from None
    return dict(facts), tensors


def _plain(value: Any) -> Any:
    """What JSON has for numbers of numpy and for paths."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
