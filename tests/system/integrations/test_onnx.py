"""Comparison of exported ONNX files in onnxruntime with PyTorch."""

import numpy as np
import pytest
import torch

from rayspin.models import (
    EffectiveFieldNetConfig,
    FieldOutput,
    FieldUNetConfig,
    SuperResolutionNetConfig,
    SuperResolutionUNetConfig,
)
from rayspin.models.onnx import export_onnx

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (EffectiveFieldNetConfig(), (32, 48)),
        (SuperResolutionNetConfig(scale=4, normalized_output=True, start="fourier"), (8, 12)),
        (
            SuperResolutionUNetConfig(
                scale=4, start="wiener-em", start_projections=2, projections=2, normalized_output=True, patch=2
            ),
            (8, 12),
        ),
        (
            SuperResolutionNetConfig(scale=4, normalized_output=True, descent={"hamiltonian": "labyrinth", "steps": 2}),
            (8, 12),
        ),
    ],
)
def test_onnx_output_equals_the_output_of_the_network(tmp_path, config, shape):
    network = config.build()
    network(torch.randn(4, 3, *shape))
    export_onnx(tmp_path / "network.onnx", network, shape)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for samples in (1, 5):
        spins = torch.randn(samples, 3, *shape)
        [result] = session.run(None, {session.get_inputs()[0].name: spins.numpy()})
        with torch.no_grad():
            # Each step of a descent multiplies rounding errors by the weight of the data.
            tolerance = 1e-5 if getattr(config, "descent", None) is None else 1e-3
            np.testing.assert_allclose(result, network(spins).numpy(), atol=tolerance)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "config",
    [FieldUNetConfig(patch=2, filters=(4, 6)), EffectiveFieldNetConfig(encoder_filters=(4,), decoder_filters=(4,))],
)
def test_an_onnx_file_of_a_network_for_the_deviation_gives_j(tmp_path, config):
    network = config.build()
    spins = torch.randn(3, 3, 16, 24)
    network(spins)
    network.eval()
    with torch.no_grad():
        plain = network(spins).numpy()
    network.output = FieldOutput(isotropic=4.0, scale=0.05)
    export_onnx(tmp_path / "network.onnx", network, (16, 24))
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    [result] = session.run(None, {session.get_inputs()[0].name: spins.numpy()})
    np.testing.assert_allclose(result, 0.05 * plain, atol=1e-6)
