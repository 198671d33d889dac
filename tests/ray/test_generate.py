"""Generation of datasets with Ray: contents, resumption, repair of shards and failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rayspin import job
from rayspin.errors import InputError, RunError
from rayspin.execution.session import Session
from rayspin.job import Context
from rayspin.jobs.generate.making import ShardMaker
from rayspin.physics import LABYRINTH, anneal, energy
from rayspin.storage import Catalog, open_dataset
from tests.support import datasets
from tests.support.simulated_gpu import ON_GPU

SMALL = datasets.labyrinths(12, 16, seed=5, shard_samples=4, splits={"test": 2, "validation": 3})


def test_dataset_contains_the_samples_of_its_job(context: Context, tmp_path: Path) -> None:
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
    assert datasets.shards(alone) == datasets.shards(tmp_path / "spread")
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "other")["spins"].values, open_dataset(tmp_path / "spread")["spins"].values
    )


def test_finished_dataset_is_extended_without_changes_of_its_shards(context: Context, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    job.run(SMALL, folder, context)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.nc")}
    first = datasets.shards(folder)
    job.run(SMALL, folder, context)
    job.run(SMALL.with_updates(samples=18), folder, context)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert first.items() < datasets.shards(folder).items()
    np.testing.assert_array_equal(open_dataset(folder)["sample"], np.arange(18))
    with pytest.raises(InputError, match="the dataset has 18 samples and the job asks for 12; give at least as many"):
        job.run(SMALL, folder, context)
    with pytest.raises(InputError, match="seed is 5 there and 6 in the job"):
        job.run(SMALL.with_updates(samples=18, seed=6), folder, context)


def test_intact_unrecorded_shards_are_recorded_and_damaged_ones_regenerated(context: Context, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    job.run(SMALL, folder, context)
    reference = datasets.shards(folder)
    (folder / "ledger.jsonl").unlink()
    (folder / "summary.json").unlink()
    broken = folder / "shard-00000004.nc"
    broken.write_bytes(broken.read_bytes()[:-1000])
    untouched = (folder / "shard-00000000.nc").stat().st_mtime_ns
    job.run(SMALL, folder, context)
    assert datasets.shards(folder) == reference
    assert (folder / "shard-00000000.nc").stat().st_mtime_ns == untouched
    assert Catalog.read(folder).samples_done == 12


def test_failing_sample_is_reported_and_other_shards_are_generated(context: Context, tmp_path: Path) -> None:
    import ray.cloudpickle

    # Ray's workers cannot import the tests.
    ray.cloudpickle.register_pickle_by_value(datasets)
    poisoned = datasets.Poisoned(**dict(SMALL))
    with pytest.raises(
        RunError, match=r"1 shard failed, the first \(samples 4 to 7\) with FloatingPointError: spin 6"
    ) as caught:
        job.run(poisoned, tmp_path / "data", context)
    assert caught.value.exit_code == 1
    assert Catalog.read(tmp_path / "data").samples_done == 8
    assert "anneal_sample" in (tmp_path / "data" / "failed-00000004.txt").read_text()


def test_missing_gpu_is_a_one_line_error(ray_session: Session, tmp_path: Path) -> None:
    if ray_session.gpus():
        pytest.skip("a GPU is available")
    with pytest.raises(RunError, match=r"resources.gpu: no GPU is available; use nodes with GPUs, or remove this key"):
        job.run(ON_GPU, tmp_path / "data", Context(ray_session))
