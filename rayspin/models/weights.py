"""Weight files in the safetensors format, with the kind, config and provenance of the network as metadata.

Loading a weight file never executes code from it.
"""

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
from rayspin.models.architectures import field_network, fine_network
from rayspin.models.field import FieldNet, FieldNetConfig, FieldOutput
from rayspin.models.fine import FineNet, FineNetConfig
from rayspin.rundir import replacing

Network: TypeAlias = FieldNet | FineNet
NetworkConfig: TypeAlias = FieldNetConfig | FineNetConfig

FIELD, SUPER_RESOLUTION = "effective-field", "super-resolution"
"""The kinds of networks, by their names in weight files."""

_KEY = "rayspin"


def save_weights(path: str | Path, network: Network, provenance: Mapping[str, Any]) -> None:
    """Write the weights of a network to a file, atomically.

    Args:
        path: the file to write, usually named `*.safetensors`.
        network: the network whose parameters and batch norm statistics are saved.
        provenance: the origin of the weights (data, objective, training, metrics), as plain tables.

    Raises:
        InputError: this is not a network, or its weights are invalid.
        MachineError: the system refuses to write.
    """
    check_network(network, "network")
    facts: dict[str, Any] = {"config": network.config.to_table(), "provenance": dict(provenance)}
    if isinstance(network, FieldNet):
        facts |= {"network": FIELD, "output": network.output.to_table()}
    else:
        facts |= {"network": SUPER_RESOLUTION}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_KEY: json.dumps(facts, default=_plain)}))


def load_weights(path: str | Path) -> Network:
    """Rebuild the network from a weight file, in evaluation mode on the CPU.

    Args:
        path: the weight file.

    Raises:
        InputError: the file doesn't exist or is not a rayspin weight file, or its weights are invalid.
    """
    facts, tensors = _read(path, with_tensors=True)
    config = _config(facts, str(path))
    # The meta device stores shapes only: the network that a damaged config describes may not fit into memory.
    with torch.device("meta"):
        expected = config.build().state_dict()
    check_state(tensors, expected, str(path))
    network = config.build()
    network.load_state_dict(tensors)
    if isinstance(network, FieldNet):
        # Files of earlier versions have no output: their networks estimate F itself.
        network.output = build(FieldOutput, facts.get("output", {}), str(path))
    return network.eval()


def weights_info(path: str | Path) -> dict[str, Any]:
    """The metadata of a weight file: `network` (the kind), `config`, `provenance` and, for fields, `output`.

    Args:
        path: the weight file.

    Raises:
        InputError: the file doesn't exist or is not a rayspin weight file.
    """
    return _read(path, with_tensors=False)[0]


def check_network(network: object, where: str) -> None:
    """Check that an object is a network with valid weights.

    Args:
        network: the object.
        where: its name in error messages.

    Raises:
        InputError: it is not a network, or its weights are invalid.
    """
    if not isinstance(network, FieldNet | FineNet):
        raise InputError(where, f"{shown(network)} is not a network", "give one that load_weights or build returned")
    state = network.state_dict()
    check_state(state, state, where)


def check_state(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> None:
    """Check the tensors of a network before they are loaded, trained further, saved or exported.

    Args:
        state: the tensors by name.
        expected: tensors of the network by name; only their shapes and types are used.
        where: the source of the tensors in error messages.

    Raises:
        InputError: a tensor is missing, unexpected, or of the wrong shape or type, or holds NaN, infinity or a negative
            variance.
    """
    remedy = "give weights of a training that finished without errors, or train again"
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
        return f"the weights are invalid ({name} holds NaN or infinity)"
    if name.endswith("running_var") and (values < 0).any():
        return f"the weights are invalid ({name} holds a negative variance)"
    return None


def _read(path: str | Path, *, with_tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metadata of a weight file, and its tensors by name if requested."""
    if not Path(path).is_file():
        raise InputError(str(path), "no such file", "give a .safetensors file that a training wrote")
    try:
        with safe_open(path, framework="pt") as stream:
            facts = parse_json((stream.metadata() or {})[_KEY], str(path))
            tensors = {name: stream.get_tensor(name) for name in (stream.keys() if with_tensors else ())}
        tables = all(isinstance(table, dict) for key, table in facts.items() if key != "network")
        optional = {FIELD: {"output"}, SUPER_RESOLUTION: set()}[facts["network"]]
        if facts.keys() - optional != {"network", "config", "provenance"} or not tables:
            raise KeyError(_KEY)
    except OSError as error:
        raise InputError(str(path), f"can't be read ({error.strerror})", "check its permissions and the disk") from None
    except (SafetensorError, KeyError, ValueError, AttributeError, TypeError, RecursionError):
        raise InputError(
            str(path), "is not a rayspin weight file", "give a .safetensors file that a training wrote"
        ) from None
    return dict(facts), tensors


def _config(facts: Mapping[str, Any], where: str) -> NetworkConfig:
    table = dict(facts["config"])
    # A key of earlier versions, whose variant without a bottleneck `FieldUNet` has replaced.
    if table.get("skip_connections") is False:
        del table["skip_connections"]
    select = fine_network if facts["network"] == SUPER_RESOLUTION else field_network
    try:
        config: NetworkConfig = select(table)
    except InputError as error:
        raise InputError(f"{where}: {error.where}", error.problem, error.remedy) from None
    return config


def _plain(value: Any) -> Any:
    """The JSON equivalent of NumPy numbers and paths."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
