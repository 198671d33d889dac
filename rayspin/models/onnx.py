"""Networks for programs without PyTorch. Needs the extra: pip install 'rayspin[onnx]'."""

from __future__ import annotations

from pathlib import Path

import torch

from rayspin.errors import InputError
from rayspin.models.weights import Network
from rayspin.rundir import replacing


def export_onnx(path: Path, network: Network, shape: tuple[int, int]) -> None:
    """Write a network as an ONNX file, in evaluation mode; it appears whole, by rename.

    The file's input and output are float32 of (N, 3, Y, X), any N.

    Args:
        path: the file, by habit `*.onnx`.
        network: what to export.
        shape: rows and columns of its input (coarse ones for super-resolution): an ONNX file has one size.

    Raises:
        InputError: the extra is not installed.
    """
    # Two samples, since a batch of one would be taken for a fixed size.
    example_NCYX = torch.zeros(2, 3, *shape)
    dimensions = ({0: torch.export.Dim.DYNAMIC},)
    try:
        program = torch.onnx.export(
            network.eval(), (example_NCYX,), dynamo=True, dynamic_shapes=dimensions, verbose=False
        )
    except ImportError as error:
        raise InputError("onnx", f"{error.name} is not installed", "pip install 'rayspin[onnx]'") from None
    assert program is not None
    with replacing(path) as temporary:
        program.save(temporary)
