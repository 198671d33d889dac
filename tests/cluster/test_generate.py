"""Generation: the bytes of a dataset depend on its job alone, whatever is killed on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from rayspin import job
from rayspin.cluster.generate import Generate, ShardMaker
from rayspin.cluster.session import Session
from rayspin.errors import InputError, RunError
from rayspin.job import Context
from rayspin.physics import LABYRINTH, AnnealSchedule, anneal, energy
from rayspin.storage import Catalog, open_dataset

pytestmark = pytest.mark.ray

SMALL = Generate.model_validate(
    {
        "samples": 12,
        "size": 16,
        "seed": 5,
        "shard_samples": 4,
        "hamiltonian": "labyrinth",
        "schedule": {"sweeps": 20, "quench_sweeps": 20},
        "splits": {"test": 2, "validation": 3},
    }
)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.nc")}


@pytest.fixture
def context(ray_session: Session) -> Context:
    return Context(ray_session)


def test_a_dataset_holds_the_samples_that_its_job_names(context: Context, tmp_path: Path) -> None:
    summary = job.run(SMALL, tmp_path / "data", context)
    assert summary.figures["samples"] == "12 of 16 x 16"
    view = open_dataset(tmp_path / "data")
    spins = view["spins"].values
    np.testing.assert_allclose(np.linalg.norm(spins, axis=-1), 1, atol=2e-6)
    np.testing.assert_array_equal(view["energy"], energy(spins, LABYRINTH))
    np.testing.assert_array_equal(spins[7], anneal(LABYRINTH, size=16, schedule=SMALL.schedule, seed=(5, 7)))
    assert list(view["split"].values) == ["test"] * 2 + ["validation"] * 3 + ["train"] * 7


def test_samples_do_not_depend_on_shard_size_or_workers(context: Context, tmp_path: Path) -> None:
    job.run(SMALL, tmp_path / "spread", context)
    job.run(SMALL.with_updates(shard_samples=5), tmp_path / "other", context)
    alone = tmp_path / "alone"
    alone.mkdir()
    maker = ShardMaker(SMALL, alone)
    for shard in [(8, 4), (0, 4), (4, 4)]:
        maker.work(shard)
    assert files(alone) == files(tmp_path / "spread")
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "other")["spins"].values, open_dataset(tmp_path / "spread")["spins"].values
    )


def test_a_finished_dataset_is_found_done_and_grows_without_being_touched(context: Context, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    job.run(SMALL, folder, context)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.nc")}
    first = files(folder)
    job.run(SMALL, folder, context)
    job.run(SMALL.with_updates(samples=18), folder, context)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert first.items() < files(folder).items()
    np.testing.assert_array_equal(open_dataset(folder)["sample"], np.arange(18))
    with pytest.raises(InputError, match="18 are there and the job asks for 12; a dataset can only grow"):
        job.run(SMALL, folder, context)
    with pytest.raises(InputError, match="seed is 5 there and 6 in the job"):
        job.run(SMALL.with_updates(samples=18, seed=6), folder, context)


def test_a_shard_in_place_but_not_in_the_ledger_is_adopted_and_a_broken_one_made_again(
    context: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    job.run(SMALL, folder, context)
    reference = files(folder)
    (folder / "ledger.jsonl").unlink()
    (folder / "summary.json").unlink()
    broken = folder / "shard-00000004.nc"
    broken.write_bytes(broken.read_bytes()[:-1000])
    untouched = (folder / "shard-00000000.nc").stat().st_mtime_ns
    job.run(SMALL, folder, context)
    assert files(folder) == reference
    assert (folder / "shard-00000000.nc").stat().st_mtime_ns == untouched
    assert Catalog.read(folder).samples_done == 12


class _Poisoned(Generate):
    """Sample 6 can't be annealed."""

    def anneal_sample(self, sample: int) -> np.ndarray:
        if sample == 6:
            raise FloatingPointError("spin 6 diverged")
        return super().anneal_sample(sample)


def test_a_poison_sample_leaves_the_rest_and_says_which(context: Context, tmp_path: Path) -> None:
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    poisoned = _Poisoned(**dict(SMALL))
    with pytest.raises(
        RunError, match=r"1 shards failed, the first \(samples 4 to 7\) with FloatingPointError: spin 6"
    ) as caught:
        job.run(poisoned, tmp_path / "data", context)
    assert caught.value.exit_code == 1
    assert Catalog.read(tmp_path / "data").samples_done == 8
    assert "anneal_sample" in (tmp_path / "data" / "failed-00000004.txt").read_text()


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_kills_of_actors_and_driver_change_no_byte(context: Context, tmp_path: Path) -> None:
    """SIGKILL an actor and then the driver in mid-run, twice; the same command ends with the undisturbed bytes."""
    slow = SMALL.with_updates(
        samples=40, shard_samples=1, size=64, schedule=AnnealSchedule(sweeps=40000, quench_sweeps=1000)
    )
    job.run(slow, tmp_path / "undisturbed", context)
    job_file, folder = tmp_path / "slow.toml", tmp_path / "killed"
    job_file.write_text(job.to_toml(slow))
    for round_number in range(2):
        driver = start(job_file, folder)
        wait_for(lambda goal=6 * (round_number + 1): Catalog.read(folder).samples_done >= goal, driver)
        kill_an_actor(driver)
        seen = Catalog.read(folder).samples_done
        wait_for(lambda goal=seen + 4: Catalog.read(folder).samples_done >= goal, driver)
        family = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait()
        # What Ray's processes leave behind must not disturb the next run; they are not waited for.
        assert family
        assert Catalog.read(folder).samples_done < slow.samples
    last = start(job_file, folder)
    assert last.wait(120) == 0
    assert files(folder) == files(tmp_path / "undisturbed")
    assert not list(folder.glob(".tmp-*"))
    assert not list(folder.glob("failed-*"))


def start(job_file: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rayspin", "run", str(job_file), "--out", str(folder)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def wait_for(condition: object, driver: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while not condition():  # type: ignore[operator]
        assert driver.poll() is None, "the driver ended too early"
        assert time.monotonic() < end, "no progress"
        time.sleep(0.02)


def kill_an_actor(driver: subprocess.Popen[bytes]) -> bool:
    """Whether one was found; between two tasks an actor can be nameless for a moment."""
    for process in psutil.Process(driver.pid).children(recursive=True):
        try:
            if "ShardMaker" in " ".join(process.cmdline()):
                process.kill()
                return True
        except psutil.Error:
            continue
    return False
