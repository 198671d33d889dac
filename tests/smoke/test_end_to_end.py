"""One command generates a dataset, trains a network and evaluates it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from rayspin.models import EffectiveFieldNet, load_weights
from rayspin.physics import energy
from rayspin.status import describe
from rayspin.storage import Catalog, open_dataset
from tests.support.repository import SMOKE
from tests.support.runs import started


def test_pipeline_generates_trains_and_evaluates(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with started(SMOKE / "pipeline.toml", folder) as run:
        assert run.wait() == (0, "")
    data = open_dataset(folder / "generate")
    spins = data["spins"].values
    np.testing.assert_allclose(np.linalg.norm(spins, axis=-1), 1, atol=2e-6)
    np.testing.assert_array_equal(data["energy"], energy(spins, Catalog.open(folder / "generate").hamiltonian))
    assert isinstance(load_weights(folder / "train" / "best.safetensors"), EffectiveFieldNet)
    with (folder / "evaluate" / "estimation.csv").open() as stream:
        errors = [float(row["mse_x"]) for row in csv.DictReader(stream)]
    assert errors
    assert np.isfinite(errors).all()
    assert describe(folder)[1]["state"] == "finished"
    for stage in ("generate", "train", "evaluate"):
        assert list((folder / stage).glob("*.png")), f"{stage} has no picture"
