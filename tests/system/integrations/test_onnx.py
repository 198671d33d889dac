"""Comparison of exported ONNX files in onnxruntime with PyTorch."""

import numpy as np
import pytest
import torch

from rayspin.models import EffectiveFieldNetConfig, SuperResolutionNetConfig
from rayspin.models.onnx import export_onnx
from rayspin.physics import Degradation

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (EffectiveFieldNetConfig(), (32, 48)),
        (SuperResolutionNetConfig(scale=4, normalized_output=True, residual=Degradation()), (8, 12)),
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
            np.testing.assert_allclose(result, network(spins).numpy(), atol=1e-5)
