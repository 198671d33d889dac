"""Generation: the bytes of a dataset depend on its job alone, whatever is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rayspin import job
from rayspin.cluster.fanout import Outcome, SetAside
from rayspin.cluster.generate import Generate, ShardMaker
from rayspin.cluster.recorder import settle
from rayspin.cluster.session import Session
from rayspin.cluster.stopping import StopRequest
from rayspin.config import build
from rayspin.errors import Incomplete, InputError, RunError
from rayspin.job import Context
from rayspin.physics import DOMAIN_SCHEDULE, LABYRINTH, LABYRINTH_SCHEDULE, AnnealSchedule, anneal, energy
from rayspin.rundir import RunDir
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


def test_a_stop_with_a_poison_sample_is_a_stop_and_keeps_the_traceback(tmp_path: Path) -> None:
    outcome = Outcome([SetAside((4, 4), "ValueError: no", "Traceback of it")], [(8, 4)])
    stop = StopRequest()
    with stop.draining():
        stop._take(signal.SIGTERM, None)
    with pytest.raises(Incomplete, match="stopped by SIGTERM with 4 of 12 samples done") as caught:
        settle(tmp_path, SMALL, outcome, stop, "4 of 12 samples done")
    assert caught.value.exit_code == 75
    assert (tmp_path / "failed-00000004.txt").read_text() == "Traceback of it"
    with pytest.raises(RunError, match=r"1 shards failed, the first \(samples 4 to 7\) with ValueError: no"):
        settle(tmp_path, SMALL, Outcome(outcome.set_aside, []), StopRequest(), "8 of 12 samples done")


@dataclass(frozen=True)
class Undisturbed:
    """A job of some seconds, and the files that it gives when nothing happens."""

    job_file: Path
    samples: int
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def undisturbed(ray_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    slow = SMALL.with_updates(
        samples=30, shard_samples=1, size=64, schedule=AnnealSchedule(sweeps=40000, quench_sweeps=1000)
    )
    job.run(slow, folder / "data", Context(ray_session))
    (folder / "slow.toml").write_text(job.to_toml(slow))
    return Undisturbed(folder / "slow.toml", slow.samples, files(folder / "data"))


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_that_is_asked_to_stop_drains_exits_75_and_goes_on(undisturbed: Undisturbed, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    for number in (signal.SIGUSR2, signal.SIGTERM):
        with started(undisturbed.job_file, folder) as driver:
            wait_for_more(3, folder, driver)
            driver.send_signal(number)
            assert driver.wait(60) == 75
            said = driver.stderr.read().decode() if driver.stderr else ""
        of_all = f"{done(folder)} of {undisturbed.samples} samples done"
        assert f"stopped by {number.name} with {of_all}; the same command goes on" in said
        # What was in flight has ended: no half-made files, and every shard in the ledger.
        assert not list(folder.glob(".tmp-*"))
        assert len(files(folder)) == done(folder) < undisturbed.samples
    # Before, during and after the start of Ray.
    for deadline in ("0.5", "1", "2"):
        with started(undisturbed.job_file, folder, "--stop-after", deadline) as driver:
            said = driver.communicate(timeout=60)[1].decode()
            assert driver.returncode == 75
        assert "stopped by the deadline with " in said
        assert said.count("\n") == 1
    with started(undisturbed.job_file, folder) as driver:
        assert driver.wait(120) == 0
    assert files(folder) == undisturbed.files


def done(folder: Path) -> int:
    return Catalog.read(folder).samples_done


@contextmanager
def started(job_file: Path, folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run of its own, with a Ray of its own; whatever the test does, it does not outlive the block."""
    command = [sys.executable, "-m", "rayspin", "run", str(job_file), "--out", str(folder), *options]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as driver:
        try:
            yield driver
        finally:
            driver.kill()


def wait_for(condition: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert driver.poll() is None, "the driver ended too early"
        assert time.monotonic() < end, "no progress"
        time.sleep(0.02)


def wait_for_more(samples: int, folder: Path, driver: subprocess.Popen[bytes]) -> None:
    goal = done(folder) + samples
    wait_for(lambda: done(folder) >= goal, driver)


@pytest.mark.parametrize(("hamiltonian", "schedule"), [("labyrinth", LABYRINTH_SCHEDULE), ("domain", DOMAIN_SCHEDULE)])
def test_a_job_that_names_no_schedule_has_the_measured_one(hamiltonian, schedule):
    assert build(Generate, {"samples": 1, "hamiltonian": hamiltonian}, "job.toml").schedule == schedule


JOBS = Path(__file__).parents[2] / "jobs"


@pytest.mark.parametrize(
    ("name", "overrides", "samples", "held_back"),
    [
        # Sci. Rep. 11 (2021): 25,000 to train, 5,000 to validate, 100 to test; 13 (2023): 40,000 and 100 of each kind.
        ("generate_labyrinth", [], 30_100, {"test": 100, "validation": 5000}),
        ("generate_labyrinth", ["samples=40100", "splits.validation=100"], 40_100, {"test": 100, "validation": 100}),
        ("generate_domain", [], 40_100, {"test": 100, "validation": 100}),
    ],
)
def test_job_files_ask_for_as_many_samples_as_the_papers_have(
    name: str, overrides: list[str], samples: int, held_back: dict[str, int]
) -> None:
    asked = job.load(JOBS / f"{name}.toml", overrides)
    assert isinstance(asked, Generate)
    assert (asked.samples, asked.size, dict(asked.splits)) == (samples, (128, 128), held_back)


def test_a_seed_is_one_that_fits_into_a_coordinate() -> None:
    with pytest.raises(InputError, match="seed: "):
        build(Generate, SMALL.to_table() | {"seed": 2**63}, "")


@pytest.mark.timeout(120)
def test_a_plan_of_huge_samples_looks_at_some_sweeps_of_one(tmp_path: Path) -> None:
    """A whole sample of this job is the work of half an hour."""
    huge = Generate.model_validate(
        SMALL.to_table() | {"size": 1024, "schedule": {"sweeps": 1_000_000, "quench_sweeps": 20}}
    )
    found = huge.plan(RunDir.at(tmp_path / "data"), {})
    # 2^20 spins, 10^6 sweeps: no core does 10 updates a nanosecond, and none takes 100 ns for one.
    assert 1e2 < found.core_seconds / 12 < 1e5
