"""Repair loses no intact file, and reports what a verification found."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayspin.errors import RunError
from rayspin.jobs.generate import repair as repairing
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import ShardMaker
from rayspin.jobs.generate.repair import REPLACED, repair
from rayspin.jobs.stage import Context
from rayspin.physics import Hamiltonian
from rayspin.physics.examination import energy_bounds
from rayspin.storage import Catalog, LedgerWriter, ShardWriter, shard_name, verification, verify
from rayspin.storage.shards import read_shard
from tests.support import datasets
from tests.support.serial import serially

JOB = Generate.model_validate(
    {
        "samples": 24,
        "size": 8,
        "seed": 5,
        "shard_samples": 8,
        "hamiltonian": "labyrinth",
        "schedule": {"sweeps": 5, "quench_sweeps": 5},
        "splits": {"test": 1},
    }
)
SHARDS = [shard_name(first) for first in (0, 8, 16)]


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairing, "dispatch", serially)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "data"
    return datasets.make(JOB, folder)


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def swap(folder: Path, one: str, other: str) -> None:
    (folder / one).rename(folder / "aside")
    (folder / other).rename(folder / one)
    (folder / "aside").rename(folder / other)


def check_same(dataset: Path, original: Path) -> None:
    for name in SHARDS:
        assert (dataset / name).read_bytes() == (original / name).read_bytes(), name
    assert Catalog.entered(dataset).records == Catalog.entered(original).records
    assert verify(Catalog.entered(dataset)).faults == []
    assert not (dataset / REPLACED).exists()


def test_swapped_files_that_no_ledger_knows_are_not_taken_for_each_other(dataset: Path, original: Path) -> None:
    swap(dataset, SHARDS[0], SHARDS[1])
    ledger = dataset / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:700])
    repair(dataset, Context())
    check_same(dataset, original)
    (dataset / SHARDS[1]).unlink()
    assert [fault.file for fault in repair(dataset, Context())] == [SHARDS[1]]
    check_same(dataset, original)


def test_a_ledger_line_that_names_another_file_than_its_sample_is_none(dataset: Path, original: Path) -> None:
    """An earlier version recorded swapped files like this."""
    first, second, _ = Catalog.entered(dataset).records
    swap(dataset, SHARDS[0], SHARDS[1])
    LedgerWriter(dataset).record(replace(first, file=second.file))
    LedgerWriter(dataset).record(replace(second, file=first.file))
    assert any(fault.file == "ledger.jsonl" for fault in verify(Catalog.entered(dataset)).faults)
    repair(dataset, Context())
    check_same(dataset, original)


def test_what_can_not_be_made_as_it_was_stays_as_it_was(
    dataset: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If other package versions produce another shard, the damaged original is kept."""
    path = dataset / SHARDS[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    def made_otherwise(self: ShardMaker, first: int, count: int) -> Any:
        return make(self, first, count) if first != 8 else other._make(first, count)

    make, other = ShardMaker._make, ShardMaker(JOB.with_updates(seed=6), dataset)
    other._make = ShardMaker._make.__get__(other)  # type: ignore[method-assign]
    monkeypatch.setattr(ShardMaker, "_make", made_otherwise)
    with pytest.raises(RunError, match=rf"{SHARDS[1]} could not be reproduced: the new values differ"):
        repair(dataset, Context())
    assert path.read_bytes() == bytes(content)
    assert Catalog.entered(dataset).records == Catalog.entered(original).records


def test_a_shard_that_is_made_again_as_faulty_is_no_success_and_what_it_replaced_is_kept(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (dataset / SHARDS[0]).read_bytes()

    def too_narrow(hamiltonian: Hamiltonian, length: float = 1.0) -> tuple[float, float]:
        return 0.0, energy_bounds(hamiltonian)[1]

    monkeypatch.setattr(verification, "energy_bounds", too_narrow)
    with pytest.raises(RunError, match=r"3 faults remain after the repair, the first: shard-00000000.nc has energies"):
        repair(dataset, Context())
    assert (dataset / REPLACED / SHARDS[0]).read_bytes() == before
    monkeypatch.undo()
    assert repair(dataset, Context()) == []
    assert not (dataset / REPLACED).exists()


def test_a_shard_wrong_from_the_first_is_made_anew_and_verified(dataset: Path, original: Path) -> None:
    values, attributes = read_shard(dataset / SHARDS[0])
    del attributes["values_sha256"]
    values["energy"] += 1e-6
    LedgerWriter(dataset).record(ShardWriter(attributes).write(dataset / SHARDS[0], values))
    assert [fault.first_sample for fault in repair(dataset, Context())] == [0]
    check_same(dataset, original)


@pytest.mark.parametrize("there", ["folder", "pipe", "link"])
def test_what_is_no_file_gives_way_to_the_shard(dataset: Path, original: Path, tmp_path: Path, there: str) -> None:
    path = dataset / SHARDS[1]
    path.unlink()
    if there == "folder":
        path.mkdir()
    elif there == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name)
    assert [fault.first_sample for fault in repair(dataset, Context())] == [8]
    check_same(dataset, original)
