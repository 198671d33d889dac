"""Errors of trainings with Ray Train are reported once, with their cause, and are not retried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import pytest

from rayspin import job
from rayspin.errors import InputError, RunError
from rayspin.execution.session import Session
from rayspin.job import Context
from rayspin.jobs.registry import build_stage
from rayspin.jobs.train.job import Training
from rayspin.storage import shard_name
from tests.support import datasets


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = datasets.labyrinths(16, 32, splits={"test": 0, "validation": 4})
    return datasets.make(data, tmp_path_factory.mktemp("data") / "data")


def training_on(dataset: Path, **settings: Any) -> Training:
    table = {
        "kind": "train-fcn",
        "dataset": str(dataset),
        "training": {"batch_size": 4, "augmentation": "symmetries", **settings},
        "resources": {"workers": 2},
    }
    stage = build_stage(table, "")
    assert isinstance(stage, Training)
    return stage


def test_divergence_of_a_training_is_not_retried(
    dataset: Path, ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = _record_attempts(ray_session, monkeypatch)
    stage = training_on(dataset, epochs=2, learning_rate=1e30)
    with pytest.raises(RunError, match="the loss of epoch 1 is not finite"):
        job.run(stage, tmp_path / "run", Context(ray_session))
    assert len(attempts) == 1


def test_error_in_a_worker_is_reported_with_its_cause_and_not_retried(
    ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compressed spins of a shard are damaged, but its header is intact."""
    attempts = _record_attempts(ray_session, monkeypatch)
    data = datasets.labyrinths(
        12, 16, shard_samples=4, splits={"test": 0, "validation": 4}, storage={"compression": "zlib"}
    )
    datasets.make(data, tmp_path / "data")
    path = tmp_path / "data" / shard_name(8)
    with h5py.File(path) as file:
        chunk = file["spins"].id.get_chunk_info(0)
    with path.open("r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(bytes(chunk.size))
    with pytest.raises(InputError, match=r"shard-00000008.nc: is not a complete shard"):
        job.run(training_on(tmp_path / "data", epochs=2), tmp_path / "run", Context(ray_session))
    assert len(attempts) == 1


def _record_attempts(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list to which each trainer is appended when it starts."""
    session.ray()
    from ray.train.torch import TorchTrainer

    started: list[Any] = []
    fit = TorchTrainer.fit
    monkeypatch.setattr(TorchTrainer, "fit", lambda trainer: started.append(trainer) or fit(trainer))
    return started
