"""Units as CF has them; and datasets of an earlier format, whose shards say "J": read, verified, repaired, extended."""

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


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A dataset as version 0.1.0 wrote it before formats had numbers."""
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


def test_what_is_measured_in_j_is_dimensionless_and_says_what_its_unit_is(new: Path) -> None:
    with netCDF4.Dataset(new / shard_name(0)) as file:
        assert file["energy"].units == "1"
        assert file["energy"].long_name == "energy per site, in units of the exchange constant J"
        assert file.format == "2"


def test_an_old_dataset_is_read_and_verified_as_before(old: Path, new: Path) -> None:
    with netCDF4.Dataset(old / shard_name(0)) as file:
        assert file["energy"].units == "J"
    assert verify(Catalog.entered(old)).faults == []
    ours, theirs = Catalog.open(new).records, Catalog.open(old).records
    assert [record.values_sha256 for record in ours] == [record.values_sha256 for record in theirs]
    assert all(one.sha256 != other.sha256 for one, other in zip(ours, theirs))
    xr.testing.assert_identical(open_dataset(old), open_dataset(new))


def test_an_old_dataset_is_mended_to_the_values_of_its_ledger_and_the_files_of_this_format(
    old: Path, new: Path
) -> None:
    (old / shard_name(2)).unlink()
    told = Told()
    assert JOB.done(RunDir.at(old)) is None
    run_part(JOB, "1/1", RunDir.at(old), Context(progress=told))
    assert len([line for line in told.lines if "has shards made with rayspin" in line and "format 2" in line]) == 1
    assert verify(Catalog.entered(old)).faults == []
    assert (old / shard_name(2)).read_bytes() == (new / shard_name(2)).read_bytes()
    assert Catalog.open(old).reader().digest == Catalog.open(new).reader().digest
    with xr.open_mfdataset(str(old / "shard-*.nc")) as view:
        np.testing.assert_array_equal(view["energy"], open_dataset(new)["energy"])


def test_an_old_dataset_grows_and_says_that_others_made_a_part(old: Path) -> None:
    told = Told()
    run_part(JOB.with_updates(samples=8), "1/1", RunDir.at(old), Context(progress=told))
    assert any("has shards made with rayspin" in line for line in told.lines)
    assert open_dataset(old, strict=True).sizes["sample"] == 8
    assert verify(Catalog.entered(old)).faults == []


def test_a_dataset_of_one_making_is_extended_without_a_word(new: Path) -> None:
    told = Told()
    Recorder.resume(new, JOB).tell_of_others(told)
    assert told.lines == []
