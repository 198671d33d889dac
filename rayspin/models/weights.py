"""Weight files: safetensors with the network's kind, config and provenance. Nothing in them is ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from rayspin.config import build
from rayspin.errors import InputError
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


def save_weights(path: Path, network: Network, provenance: Mapping[str, Any]) -> None:
    """Write a network's weights; the file appears whole, by rename.

    Args:
        path: the file, by habit `*.safetensors`.
        network: what to keep: parameters and batch norm statistics.
        provenance: where the weights come from (data, objective, training, figures), as plain tables.
    """
    kind = next(kind for kind, config_type in NETWORKS.items() if isinstance(network.config, config_type))
    facts = {"network": kind, "config": network.config.to_table(), "provenance": dict(provenance)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_KEY: json.dumps(facts)}))


def load_weights(path: str | Path) -> Network:
    """The network of a weight file, rebuilt from the config in it, in evaluation mode on the CPU.

    Raises:
        InputError: there is no such file, or it is no weight file of rayspin's.
    """
    facts = weights_info(path)
    config = build(NETWORKS[facts["network"]], facts["config"], str(path))
    network = config.build()
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            str(path), f"the weights don't fit the network ({_first_line(error)})", "train it again"
        ) from None
    return network.eval()


def weights_info(path: str | Path) -> dict[str, Any]:
    """What a weight file says of itself: `network` (its kind), `config` and `provenance`.

    Raises:
        InputError: there is no such file, or it is no weight file of rayspin's.
    """
    if not Path(path).is_file():
        raise InputError(str(path), "no such file", "give a .safetensors file that a training wrote")
    try:
        with safe_open(path, framework="pt") as stream:
            facts = parse_json((stream.metadata() or {})[_KEY], str(path))
        tables = all(isinstance(facts[key], dict) for key in ("config", "provenance"))
        if facts.keys() != {"network", "config", "provenance"} or facts["network"] not in NETWORKS or not tables:
            raise KeyError(_KEY)
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError, TypeError):
        raise InputError(
            str(path), "no weight file of rayspin's", "give a .safetensors file that a training wrote"
        ) from None
    return dict(facts)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
