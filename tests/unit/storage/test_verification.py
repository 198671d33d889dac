"""Verification: whatever is done to a dataset is found and named, and repaired to the very bytes it had."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import ShardMaker
from rayspin.physics import LABYRINTH, energy
from rayspin.storage import Catalog, shard_name, verify
from tests.support import datasets
from tests.support.harm import (
    SMALL,
    add_overlapping_shard,
    change_energy,
    change_seed,
    flip_a_bit,
    remove_job_file,
    remove_ledger,
    remove_record,
    remove_shard,
    rewrite,
    scale_spins,
    shift_sample_numbers,
    shift_splits,
    swap_records,
    swap_shards,
    truncate_shard,
)


def test_a_sound_dataset_has_no_faults(original: Path) -> None:
    seen = []
    assert verify(Catalog.entered(original), lambda: seen.append(1)).faults == []
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("harm", "firsts", "problem"),
    [
        (truncate_shard, [3], "bytes, not"),
        (remove_shard, [3], "is missing"),
        (swap_shards, [3, 6], "its digest differs: it has the content of shard-00000006.nc"),
        (remove_record, [3], "are in no shard"),
        (lambda folder: rewrite(folder, scale_spins), [3], "don't have unit length (off by 0.01)"),
        (lambda folder: rewrite(folder, change_energy), [3], "differ from those of its spins (by 1e-06 J)"),
        (lambda folder: rewrite(folder, shift_sample_numbers), [0, 3], "ledger.jsonl line 6 is damaged"),
        (add_overlapping_shard, [4, 6], "duplicates samples below 7"),
        (lambda folder: rewrite(folder, shift_splits), [3], "values of 'split' that differ from the job"),
        (remove_ledger, [0, 3, 6, 9], "are in no shard"),
        (remove_ledger, [0], "ledger.jsonl is missing"),
        (remove_job_file, [0], "job.toml is missing"),
        (swap_records, [3, 6], "its digest differs: it has the content of shard-00000006.nc"),
        (change_seed, [0, 3, 6, 9], "has the root seed 5, not 6"),
    ],
)
def test_harm_is_found_and_named(dataset: Path, harm: Callable[[Path], None], firsts: list[int], problem: str) -> None:
    harm(dataset)
    faults = verify(Catalog.entered(dataset)).faults
    assert set(firsts) <= {fault.first_sample for fault in faults}
    assert any(problem in f"{fault.file} {fault.problem}" for fault in faults), faults


@pytest.mark.parametrize(("tolerance", "named"), [(1e-4, [3]), (5e-3, [])])
def test_torques_above_what_the_schedule_promises_are_a_fault(
    tmp_path: Path, tolerance: float, named: list[int]
) -> None:
    """A spin turned by 1 mrad: a torque of about 4 mJ, in a dataset that is sound otherwise."""
    schedule = {"sweeps": 20, "torque_tolerance": tolerance}
    stage = Generate.model_validate(SMALL.to_table() | {"schedule": schedule})
    datasets.make(stage, tmp_path)
    assert verify(Catalog.entered(tmp_path)).faults == []

    def turn(values: dict[str, object]) -> None:
        x, y, z = values["spins"][1, 4, 4]  # type: ignore[index]
        across = np.cross((x, y, z), np.eye(3)[np.argmin(np.abs((x, y, z)))])
        turned = (x, y, z) + 1e-3 * across / np.linalg.norm(across)
        values["spins"][1, 4, 4] = turned / np.linalg.norm(turned)  # type: ignore[index]
        values["energy"] = energy(values["spins"], LABYRINTH)

    rewrite(tmp_path, turn)
    faults = verify(Catalog.entered(tmp_path)).faults
    assert [fault.first_sample for fault in faults] == named
    assert all("torques of up to 0.004" in fault.problem for fault in faults), faults


@pytest.mark.parametrize("file", [shard_name(6), "ledger.jsonl", "job.toml"])
def test_a_flipped_bit_anywhere_is_found(dataset: Path, file: str) -> None:
    path = dataset / file
    whole = path.read_bytes()
    chance = random.Random(7)
    for position in [0, 8 * len(whole) - 1, *(chance.randrange(8 * len(whole)) for _ in range(60))]:
        flip_a_bit(path, position)
        named = {fault.file for fault in verify(Catalog.entered(dataset)).faults if fault.file}
        assert named == {file}, position
        path.write_bytes(whole)


def test_a_shard_maker_needs_no_ray(tmp_path: Path) -> None:
    assert ShardMaker(SMALL, tmp_path).work((9, 3)).record.count == 3
