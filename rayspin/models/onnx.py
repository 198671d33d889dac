"""Networks for programs without PyTorch. Needs the extra: pip install 'rayspin[onnx]'."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from rayspin.errors import InputError
from rayspin.models.weights import Network, check_network
from rayspin.physics.arguments import lattice
from rayspin.rundir import replacing


def export_onnx(path: str | Path, network: Network, shape: int | tuple[int, int]) -> None:
    """Write a network as an ONNX file, in evaluation mode; it appears whole, by rename.

    The file's input and output are float32 of (N, 3, Y, X), any N.

    Args:
        path: the file, by habit `*.onnx`.
        network: what to export.
        shape: rows and columns of its input (coarse ones for super-resolution): an ONNX file has one size.

    Raises:
        InputError: no network, one with weights that can't be used, or a shape that it does not take; the extra is not
            installed.
    """
    check_network(network, "network")
    network = copy.deepcopy(network.eval()).cpu().float()
    # Two samples, since a batch of one would be taken for a fixed size.
    example_NCYX = torch.zeros(2, 3, *lattice(shape, "open"))
    with torch.inference_mode():
        # What the network refuses is named by itself; out of an export it would come wrapped in errors of torch.
        network(example_NCYX)
    dimensions = ({0: torch.export.Dim.DYNAMIC},)
    try:
        program = torch.onnx.export(network, (example_NCYX,), dynamo=True, dynamic_shapes=dimensions, verbose=False)
    except ImportError as error:
        raise InputError("onnx", f"{error.name} is not installed", "pip install 'rayspin[onnx]'") from None
    assert program is not None
    with replacing(path) as temporary:
        program.save(temporary)
