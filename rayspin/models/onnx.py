"""Export of networks to ONNX, for programs without PyTorch. Requires the extra: pip install 'rayspin[onnx]'."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from rayspin.errors import InputError
from rayspin.models.weights import Network, check_network
from rayspin.physics.arguments import lattice
from rayspin.rundir import replacing


def export_onnx(path: str | Path, network: Network, shape: int | tuple[int, int]) -> None:
    """Write a network in evaluation mode to an ONNX file, atomically.

    Input and output of the exported model are float32 (N, 3, Y, X), for any N.

    Args:
        path: the file to write, usually named `*.onnx`.
        network: the network to export.
        shape: rows and columns of the input (the coarse lattice for super-resolution), which the ONNX model fixes.

    Raises:
        InputError: the network or its weights are invalid, it doesn't take this shape, or the extra is not installed.
        MachineError: the system refuses to write.
    """
    check_network(network, "network")
    network = copy.deepcopy(network.eval()).cpu().float()
    # The exporter would take a batch of one for a fixed size.
    example_NCYX = torch.zeros(2, 3, *lattice(shape, "open"))
    with torch.inference_mode():
        # The network's own errors are clear; the exporter would wrap them in errors of torch.
        network(example_NCYX)
    dimensions = ({0: torch.export.Dim.DYNAMIC},)
    try:
        program = torch.onnx.export(network, (example_NCYX,), dynamo=True, dynamic_shapes=dimensions, verbose=False)
    except ImportError as error:
        raise InputError("onnx", f"{error.name} is not installed", "run: pip install 'rayspin[onnx]'") from None
    assert program is not None
    with replacing(path) as temporary:
        program.save(temporary)
