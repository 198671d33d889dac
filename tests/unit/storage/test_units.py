"""CF units, and datasets of an earlier format with the unit "J", which are read, verified, repaired and extended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from rayspin.jobs.generate.array import run_part
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import ShardMaker
from rayspin.jobs.generate.recorder import Recorder
from rayspin.jobs.stage import Context
from rayspin.progress import Silent
from rayspin.rundir import RunDir
from rayspin.storage import VARIABLES, Catalog, LedgerWriter, ShardWriter, open_dataset, shard_name, verify
from tests.support import datasets

JOB = Generate.model_validate(
    {
        "samples": 6,
        "size": 8,
        "seed": 5,
        "shard_samples": 2,
        "hamiltonian": "labyrinth",
        "schedule": {"sweeps": 5, "quench_sweeps": 5},
        "splits": {"test": 1},
    }
)
OLD_ENERGY = replace(VARIABLES["energy"], units="J", long_name="energy per site, in units of the exchange constant")


class RecordedProgress(Silent):
    """A progress that records its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A dataset of version 0.1.0, whose format had no number."""
    folder = tmp_path / "old"
    attributes = {key: value for key, value in JOB.shard_attributes().items() if key != "format"}
    maker = ShardMaker(JOB, folder)
    maker._writer = ShardWriter(attributes, {**VARIABLES, "energy": OLD_ENERGY})
    with RunDir.at(folder).claimed(JOB.identity()):
        for shard in JOB.shards():
            record = maker.work(shard).record
            made_with = f"{attributes['source']}: {attributes['versions']}"
            LedgerWriter(folder).record(record, made_with=made_with, host="h", seconds=1.0)
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Path:
    folder = tmp_path / "new"
    return datasets.make(JOB, folder)


def test_energies_are_dimensionless_and_name_their_unit_j(new: Path) -> None:
    with netCDF4.Dataset(new / shard_name(0)) as file:
        assert file["energy"].units == "1"
        assert file["energy"].long_name == "energy per site, in units of the exchange constant J"
        assert file.format == "2"


def test_dataset_of_an_old_format_is_read_and_verified(old: Path, new: Path) -> None:
    with netCDF4.Dataset(old / shard_name(0)) as file:
        assert file["energy"].units == "J"
    assert verify(Catalog.entered(old)).faults == []
    new_records, old_records = Catalog.open(new).records, Catalog.open(old).records
    assert [record.values_sha256 for record in new_records] == [record.values_sha256 for record in old_records]
    assert all(new_record.sha256 != old_record.sha256 for new_record, old_record in zip(new_records, old_records))
    xr.testing.assert_identical(open_dataset(old), open_dataset(new))


def test_repair_of_an_old_dataset_writes_equal_values_in_the_new_format(old: Path, new: Path) -> None:
    (old / shard_name(2)).unlink()
    progress = RecordedProgress()
    assert JOB.done(RunDir.at(old)) is None
    run_part(JOB, "1/1", RunDir.at(old), Context(progress=progress))
    assert len([line for line in progress.lines if "has shards made with rayspin" in line and "format 2" in line]) == 1
    assert verify(Catalog.entered(old)).faults == []
    assert (old / shard_name(2)).read_bytes() == (new / shard_name(2)).read_bytes()
    assert Catalog.open(old).reader().digest == Catalog.open(new).reader().digest
    with xr.open_mfdataset(str(old / "shard-*.nc")) as view:
        np.testing.assert_array_equal(view["energy"], open_dataset(new)["energy"])


def test_extension_of_an_old_dataset_reports_the_other_version(old: Path) -> None:
    progress = RecordedProgress()
    run_part(JOB.with_updates(samples=8), "1/1", RunDir.at(old), Context(progress=progress))
    assert any("has shards made with rayspin" in line for line in progress.lines)
    assert open_dataset(old, strict=True).sizes["sample"] == 8
    assert verify(Catalog.entered(old)).faults == []


def test_extension_of_a_new_dataset_reports_nothing(new: Path) -> None:
    progress = RecordedProgress()
    Recorder.resume(new, JOB).tell_of_others(progress)
    assert progress.lines == []
