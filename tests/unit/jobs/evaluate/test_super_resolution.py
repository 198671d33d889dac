"""Evaluations use the inputs of the training, and reject networks and data that do not fit before writing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rayspin import job
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.evaluate.job import Case
from rayspin.jobs.evaluate.super_resolution import NETWORK, EvaluateSr
from rayspin.models import SuperResolutionNetConfig, save_weights
from rayspin.training import SuperResolutionObjective
from tests.support import datasets


def _dataset(folder: Path, **more: Any) -> Path:
    return datasets.make(datasets.labyrinths(4, 32, splits={"test": 2, "validation": 1}, **more), folder)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _dataset(tmp_path_factory.mktemp("data") / "data")


def _evaluation(dataset: Path, folder: Path, provenance: dict[str, Any]) -> EvaluateSr:
    torch.manual_seed(1)
    network = SuperResolutionNetConfig(scale=4, expanding_filters=(4,)).build()
    save_weights(folder / "w.safetensors", network, provenance)
    return build(EvaluateSr, {"dataset": str(dataset), "weights": str(folder / "w.safetensors"), "seed": 3}, "")


def test_fields_carry_the_noise_that_the_network_was_trained_with(dataset: Path, tmp_path: Path) -> None:
    mse = {}
    for alpha in (0.0, 0.5):
        objective = SuperResolutionObjective(noise_amplitude=alpha)
        evaluation = _evaluation(dataset, tmp_path, {"objective": objective.to_table()})
        case = Case.open(dataset, tmp_path / "w.safetensors", "test")
        whole = evaluation.measure(case, 0, 2)
        # The noise of a sample does not depend on the division into shares.
        assert whole[1] == pytest.approx(evaluation.measure(case, 1, 1)[0], rel=1e-4)
        mse[alpha] = [row["bicubic/normalized_mse"] for row in whole]
        assert np.isfinite(whole[0][f"{NETWORK}/raw_mse"])
    # Interpolation does not remove noise.
    assert np.mean(mse[0.5]) > np.mean(mse[0.0]) + 0.01


@pytest.mark.parametrize(
    ("provenance", "message"),
    [
        ({}, "weights: the file does not contain the training objective"),
        ({"objective": 5}, "weights: the file does not contain the training objective"),
        ({"objective": {"degradation": {"sigma": "wide"}}}, r"weights: objective: degradation\.sigma"),
        ({"objective": {"degradation": {"mosaic": 3}}}, "32 x 32 sites don't divide into blocks of 12"),
    ],
)
def test_weights_that_do_not_suit_are_refused(
    dataset: Path, tmp_path: Path, provenance: dict[str, Any], message: str
) -> None:
    evaluation = _evaluation(dataset, tmp_path, provenance)
    with pytest.raises(InputError, match=message):
        job.plan(evaluation, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_open_edges_are_refused(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "open", hamiltonian={"dmi": 0.3, "boundary": "open"})
    with pytest.raises(InputError, match="have open boundaries, and the networks assume periodic ones"):
        job.plan(_evaluation(dataset, tmp_path, {"objective": {"dropped": 0.1}}), tmp_path / "run")
