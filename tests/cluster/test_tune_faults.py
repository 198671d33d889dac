"""Whatever is killed in mid-sweep, the same command ends with the table of an undisturbed sweep, byte for byte."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from rayspin import job
from rayspin.cluster.generate import Generate, make_here
from rayspin.cluster.sweep.feed import Feed
from rayspin.cluster.sweep.ledger import Ledger
from rayspin.cluster.sweep.legs import Work
from rayspin.cluster.tune import Tune
from rayspin.config import build
from rayspin.job import Context
from rayspin.rundir import RunDir
from rayspin.status import describe
from tests.cluster.test_generate import started, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(400)]

EPOCHS = 16


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Tune:
    """Five trainings with successive halving, some seconds each, on a dataset that is there."""
    folder = tmp_path_factory.mktemp("data")
    table = {"samples": 16, "size": 32, "hamiltonian": "labyrinth", "splits": {"test": 0, "validation": 4}}
    data = build(Generate, {**table, "schedule": {"sweeps": 20, "quench_sweeps": 20}}, "")
    with RunDir.at(folder / "data").claimed(data.identity()):
        make_here(data, folder / "data")
    training = {"epochs": EPOCHS, "batch_size": 4}
    base = {"kind": "train-sr", "dataset": str(folder / "data"), "network": {"scale": 4}, "training": training}
    space = {"training.learning_rate": [0.01, 0.003, 0.001, 0.0003, 0.0001]}
    return build(Tune, {"base": base, "space": space, "asha": {"first": 4, "reduction": 2}}, "")


@pytest.fixture(scope="module")
def undisturbed(swept: Tune, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return table_of(swept, tmp_path_factory.mktemp("undisturbed"))


def table_of(swept: Tune, folder: Path) -> bytes:
    """The table that a sweep ends with where nothing happens: leg after leg in this process, without Ray."""
    threads = torch.get_num_threads()

    def in_this_process(swept: Tune, run: RunDir, context: Context, feed: Feed) -> None:
        while (leg := feed.next()) is not None:
            feed.take(leg, Work(run, Path.cwd()).do(leg))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tune, "_run_trials", in_this_process)
        job.run(swept, folder, Context())
    torch.set_num_threads(threads)
    return (folder / "trials.csv").read_bytes()


@pytest.fixture
def job_file(swept: Tune, tmp_path: Path) -> Path:
    path = tmp_path / "sweep.toml"
    path.write_text(job.to_toml(swept))
    return path


def results(folder: Path) -> int:
    return len(Ledger(folder).order)


def epochs(folder: Path) -> int:
    """Of all trials together, as their files say."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("trials/*/metrics.jsonl"))


def children(driver: subprocess.Popen[bytes], name: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(driver.pid).children(recursive=True):
        try:
            if name in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def kill_a_trial(driver: subprocess.Popen[bytes]) -> bool:
    trials = children(driver, "ImplicitFunc")
    for trial in trials[:1]:
        trial.kill()
    return bool(trials)


def test_kills_of_trial_and_driver_change_no_byte(job_file: Path, undisturbed: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    with started(job_file, folder) as driver:
        wait_for(lambda: epochs(folder) > 2, driver)
        wait_for(lambda: kill_a_trial(driver), driver)
        wait_for(lambda: results(folder) >= 2, driver)
        before = epochs(folder)
        wait_for(lambda: epochs(folder) > before + 1, driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    kept = Ledger(folder).order
    assert len(kept) >= 2
    assert "nobody works on it" in describe(folder)[1]["state"]
    with started(job_file, folder) as driver:
        assert driver.wait(200) == 0
    assert (folder / "trials.csv").read_bytes() == undisturbed
    # What was in the ledger was not run again.
    assert len(set(Ledger(folder).order)) == len(Ledger(folder).order)
    assert not (folder / ".ray").exists()


def test_a_killed_raylet_ends_the_run_and_the_same_command_goes_on(
    job_file: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    with started(job_file, folder) as driver:
        wait_for(lambda: results(folder) >= 1, driver)
        [raylet] = children(driver, "raylet/raylet")
        raylet.kill()
        assert driver.wait(120) != 0
    with started(job_file, folder) as driver:
        assert driver.wait(200) == 0
    assert (folder / "trials.csv").read_bytes() == undisturbed


def drained(job_file: Path, folder: Path, within_s: float) -> str:
    """What a sweep says that is asked to stop in its third epoch."""
    with started(job_file, folder) as driver:
        wait_for(lambda: epochs(folder) > 2, driver)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(within_s) == 75
        return driver.stderr.read().decode() if driver.stderr else ""


def test_a_sweep_that_is_asked_to_stop_ends_after_the_epoch_and_goes_on(
    job_file: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    said = drained(job_file, folder, within_s=60)
    assert "stopped by SIGTERM with 0 of 5 trials done; the same command goes on" in said
    assert not list(folder.glob("trials/*/.tmp-*"))
    with started(job_file, folder) as driver:
        assert driver.wait(200) == 0
    assert (folder / "trials.csv").read_bytes() == undisturbed


def test_a_sweep_of_datasets_that_is_asked_to_stop_ends_after_the_shard_and_goes_on(tmp_path: Path) -> None:
    schedule = {"sweeps": 20000, "quench_sweeps": 1000}
    base = {"kind": "generate", "samples": 12, "size": 64, "shard_samples": 1, "hamiltonian": "labyrinth"}
    space = {"hamiltonian.dmi": [0.1, 0.2, 0.3, 0.4]}
    swept = build(Tune, {"base": {**base, "schedule": schedule}, "space": space, "metric": "wall_length"}, "")
    undisturbed = table_of(swept, tmp_path / "undisturbed")
    job_file, folder = tmp_path / "sweep.toml", tmp_path / "stopped"
    job_file.write_text(job.to_toml(swept))

    def shards() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/shard-*.nc")}

    with started(job_file, folder) as driver:
        wait_for(lambda: len(shards()) >= 3, driver)
        driver.send_signal(signal.SIGUSR2)
        assert driver.wait(60) == 75
    before = shards()
    assert len(before) < 48
    with started(job_file, folder) as driver:
        assert driver.wait(300) == 0
    assert before.items() <= shards().items()
    assert (folder / "trials.csv").read_bytes() == undisturbed


def test_trials_of_two_workers_that_are_asked_to_stop_end_after_the_epoch_and_go_on(
    swept: Tune, tmp_path: Path
) -> None:
    base = {**swept.base.to_table(), "resources": {"workers": 2}}
    two = build(Tune, {"base": base, "space": {"training.learning_rate": [0.01]}}, "")
    job_file, folder = tmp_path / "sweep.toml", tmp_path / "stopped"
    job_file.write_text(job.to_toml(two))
    with started(job_file, tmp_path / "undisturbed") as driver:
        assert driver.wait(300) == 0
    said = drained(job_file, folder, within_s=90)
    assert "stopped by SIGTERM with 0 of 1 trials done; the same command goes on" in said
    assert 2 < epochs(folder) < EPOCHS
    with started(job_file, folder) as driver:
        assert driver.wait(300) == 0
    assert (folder / "trials.csv").read_bytes() == (tmp_path / "undisturbed" / "trials.csv").read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 2.5 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2500k", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_stops_cleanly_and_the_sweep_goes_on_with_room(
    job_file: Path, undisturbed: bytes, small_disk: Path
) -> None:
    folder = small_disk / "run"
    with started(job_file, folder) as driver:
        assert driver.wait(120) == 1
        said = driver.stderr.read().decode() if driver.stderr else ""
    assert "No space left on device; make room there, then run the same command again: it goes on" in said
    assert said.strip().count("\n") == 0
    assert not [entry for entry in Ledger(folder).trials.values() if entry.error]
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    with started(job_file, folder) as driver:
        assert driver.wait(200) == 0
    assert (folder / "trials.csv").read_bytes() == undisturbed
