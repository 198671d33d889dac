"""A small dataset, and weights of a small network that claims to be trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rayspin.models import EffectiveFieldNetConfig, FieldOutput, save_weights
from rayspin.physics import LABYRINTH, Hamiltonian
from tests.support import datasets


@pytest.fixture(scope="package")
def field_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labyrinths of 16 x 16, six of them in the split "test"."""
    stage = datasets.labyrinths(8, 16, splits={"test": 6, "validation": 1})
    return datasets.make(stage, tmp_path_factory.mktemp("dataset") / "data")


@pytest.fixture
def field_weights(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the weights of a network of stride 4 and returns the file."""

    def written(seed: int = 1, hamiltonian: Hamiltonian = LABYRINTH) -> Path:
        torch.manual_seed(seed)
        network = EffectiveFieldNetConfig(encoder_filters=(2, 2), decoder_filters=(2, 2)).build()
        network.output = FieldOutput(isotropic=4.0, scale=0.05)
        path = tmp_path / f"weights-{seed}.safetensors"
        save_weights(path, network, {"data": {"hamiltonian": hamiltonian.to_table()}})
        return path

    return written
