"""Trainings over Ray: whatever is killed or asked to stop, the same command ends with the same curve, bit for bit."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest

from rayspin import job
from rayspin.cluster.generate import Generate, make_here
from rayspin.cluster.session import Session
from rayspin.cluster.stage import build_stage
from rayspin.cluster.train import Resources, Training, read_metrics
from rayspin.config import build
from rayspin.errors import RunError
from rayspin.job import Context
from rayspin.rundir import RunDir
from rayspin.storage import shard_name
from rayspin.training.checkpoint import Checkpoint
from tests.cluster.test_generate import started, wait_for

pytestmark = pytest.mark.ray

EPOCHS, INTERVAL = 30, 3


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Some seconds of work for two workers, on a dataset that is there."""
    folder = tmp_path_factory.mktemp("data") / "data"
    table = {"samples": 36, "size": 64, "hamiltonian": "labyrinth", "splits": {"test": 0, "validation": 4}}
    data = build(Generate, {**table, "schedule": {"sweeps": 20, "quench_sweeps": 20}}, "")
    with RunDir.at(folder).claimed(data.identity()):
        make_here(data, folder)
    return _training(folder, epochs=EPOCHS, checkpoint_interval=INTERVAL)


def _training(dataset: Path, **settings: Any) -> Training:
    table = {
        "kind": "train-fcn",
        "dataset": str(dataset),
        "training": {"batch_size": 4, "augmentation": "symmetries", **settings},
        "resources": {"workers": 2},
    }
    stage = build_stage(table, "")
    assert isinstance(stage, Training)
    return stage


@pytest.fixture(scope="module")
def undisturbed(training: Training, ray_session: Session, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    job.run(training, folder, Context(ray_session))
    return _curve(folder)


@pytest.fixture
def job_file(training: Training, tmp_path: Path) -> Path:
    path = tmp_path / "training.toml"
    path.write_text(job.to_toml(training))
    return path


def _curve(folder: Path) -> list[Any]:
    """Without what the clock says."""
    clock = ("seconds", "samples_per_second")
    return [{key: value for key, value in line.items() if key not in clock} for line in read_metrics(folder)]


def _epochs(folder: Path) -> int:
    return len(read_metrics(folder))


def _kept(folder: Path) -> int:
    state = Checkpoint.load(folder)
    return 0 if state is None else len(state.history)


def _workers(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(driver.pid).children(recursive=True):
        # Of Ray's processes some end at any moment.
        with suppress(psutil.NoSuchProcess):
            if "RayTrainWorker" in child.name():
                found.append(child)
    return found


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(400)
def test_kills_of_a_rank_and_of_the_driver_leave_the_curve_as_it_is(
    job_file: Path, undisturbed: list[Any], tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    with started(job_file, folder) as driver:
        wait_for(lambda: _epochs(folder) >= INTERVAL + 2, driver)
        rank = _workers(driver)[1]
        rank.kill()
        wait_for(lambda: len(_workers(driver)) == 2 and rank not in _workers(driver), driver)
        before = _epochs(folder)
        assert before - _kept(folder) <= INTERVAL
        wait_for(lambda: _epochs(folder) >= before + 4, driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        killed_at = _epochs(folder)
    assert killed_at < EPOCHS
    assert killed_at - _kept(folder) <= INTERVAL
    with started(job_file, folder) as driver:
        assert driver.wait(200) == 0
    assert _curve(folder) == undisturbed
    assert not any((folder / name).exists() for name in (".ray", ".stop", ".progress"))


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(400)
def test_a_training_that_is_asked_to_stop_ends_after_the_epoch_with_a_checkpoint(
    job_file: Path, undisturbed: list[Any], tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    # The two that Ray would take for itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        with started(job_file, folder) as driver:
            before = _epochs(folder)
            wait_for(lambda before=before: _epochs(folder) >= before + 2, driver)  # type: ignore[misc]
            driver.send_signal(number)
            said = driver.communicate(timeout=60)[1].decode()
            assert driver.returncode == 75
        done = f"stopped by {number.name} with {_epochs(folder)} of {EPOCHS} epochs done; the same command goes on"
        assert done in said
        assert said.count("\n") == 1
        assert _kept(folder) == _epochs(folder) < EPOCHS
        assert not (folder / ".ray").exists()
    with started(job_file, folder) as driver:
        assert driver.wait(200) == 0
    assert _curve(folder) == undisturbed


def test_an_error_of_the_job_itself_ends_it_at_once(
    training: Training, ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = _attempts(ray_session, monkeypatch)
    hopeless = _training(Path(training.dataset), epochs=2, learning_rate=1e30)
    with pytest.raises(RunError, match="the loss of epoch 1 is not finite"):
        job.run(hopeless, tmp_path / "run", Context(ray_session))
    assert len(attempts) == 1


def test_an_exception_in_a_worker_is_told_with_its_cause_and_not_tried_again(
    ray_session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressed spins that can't be read, in a shard that looks whole."""
    attempts = _attempts(ray_session, monkeypatch)
    table = {
        "samples": 12,
        "size": 16,
        "shard_samples": 4,
        "hamiltonian": "labyrinth",
        "splits": {"test": 0, "validation": 4},
    }
    schedule = {"sweeps": 20, "quench_sweeps": 20}
    data = build(Generate, {**table, "schedule": schedule, "storage": {"compression": "zlib"}}, "")
    with RunDir.at(tmp_path / "data").claimed(data.identity()):
        make_here(data, tmp_path / "data")
    path = tmp_path / "data" / shard_name(8)
    with h5py.File(path) as file:
        chunk = file["spins"].id.get_chunk_info(0)
    with path.open("r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(bytes(chunk.size))
    with pytest.raises(RunError, match=r"training failed \(.*OSError.*; see .*error.txt; the same command goes on"):
        job.run(_training(tmp_path / "data", epochs=2), tmp_path / "run", Context(ray_session))
    assert len(attempts) == 1
    assert "read_rows" in (tmp_path / "run" / "error.txt").read_text()


def _attempts(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each trainer that is started from now on."""
    session.ray()
    from ray.train.torch import TorchTrainer

    started: list[Any] = []
    fit = TorchTrainer.fit
    monkeypatch.setattr(TorchTrainer, "fit", lambda trainer: started.append(trainer) or fit(trainer))
    return started


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, 10),
        ({"cpus_per_worker": 3}, 5),
        ({"gpu": True}, 4),
        ({"gpu": True, "cpus_per_worker": 5}, 1),
        ({"workers": 3}, 3),
    ],
)
def test_workers_are_counted_node_by_node_and_share_a_batch_evenly(resources: dict[str, Any], expected: int) -> None:
    nodes = [{"CPU": 7.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 2.0}, {"CPU": 8.0}, {"GPU": 4.0}]
    assert Resources(**resources).world_size(nodes, lambda workers: 20 % workers == 0) == expected


def test_workers_that_fit_on_no_node_are_refused() -> None:
    message = "1 workers of 2 CPUs and a GPU each don't fit on nodes of 4 CPUs and 0 GPUs, 1 CPUs and 8 GPUs; ask"
    with pytest.raises(RunError, match=message):
        Resources(gpu=True, cpus_per_worker=2).world_size([{"CPU": 4.0}, {"CPU": 1.0, "GPU": 8.0}], lambda _: True)
