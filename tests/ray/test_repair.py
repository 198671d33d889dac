"""Repair of damaged datasets with Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rayspin.execution.session import Session
from rayspin.job import Context
from rayspin.jobs.generate.repair import repair
from rayspin.storage import Catalog, shard_name, verify
from tests.support.harm import (
    flip_a_bit,
    remove_job_file,
    remove_ledger,
    remove_record,
    remove_shard,
    rewrite,
    scale_spins,
)


@pytest.mark.parametrize(
    "damage",
    [
        remove_record,
        remove_ledger,
        remove_job_file,
        lambda folder: flip_a_bit(folder / "ledger.jsonl", 8 * 700),
        lambda folder: flip_a_bit(folder / "job.toml", 8 * 100),
        lambda folder: rewrite(folder, scale_spins),
    ],
)
def test_repair_restores_the_ledger_the_job_file_and_wrong_shards(
    dataset: Path, original: Path, ray_session: Session, damage: Callable[[Path], None]
) -> None:
    damage(dataset)
    assert repair(dataset, Context(ray_session)) != []
    assert repair(dataset, Context(ray_session)) == []
    for name in ("job.toml", *map(shard_name, (0, 3, 6, 9))):
        assert (dataset / name).read_bytes() == (original / name).read_bytes()
    assert Catalog.read(dataset).records == Catalog.read(original).records


def test_repair_regenerates_damaged_shards_only(dataset: Path, original: Path, ray_session: Session) -> None:
    flip_a_bit(dataset / shard_name(0), 12345)
    remove_shard(dataset)
    untouched = {first: (dataset / shard_name(first)).stat().st_mtime_ns for first in (6, 9)}
    faults = repair(dataset, Context(ray_session))
    assert [fault.first_sample for fault in faults] == [0, 3]
    assert verify(Catalog.entered(dataset)).faults == []
    for first in (0, 3, 6, 9):
        assert (dataset / shard_name(first)).read_bytes() == (original / shard_name(first)).read_bytes()
    assert {first: (dataset / shard_name(first)).stat().st_mtime_ns for first in untouched} == untouched
    assert repair(dataset, Context(ray_session)) == []
