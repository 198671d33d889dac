"""Verification reports any damage of a dataset."""

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


def test_intact_dataset_has_no_faults(original: Path) -> None:
    calls = []
    assert verify(Catalog.entered(original), lambda: calls.append(1)).faults == []
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("damage", "firsts", "problem"),
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
def test_damage_is_reported(dataset: Path, damage: Callable[[Path], None], firsts: list[int], problem: str) -> None:
    damage(dataset)
    faults = verify(Catalog.entered(dataset)).faults
    assert set(firsts) <= {fault.first_sample for fault in faults}
    assert any(problem in f"{fault.file} {fault.problem}" for fault in faults), faults


@pytest.mark.parametrize(("tolerance", "firsts"), [(1e-4, [3]), (5e-3, [])])
def test_torque_above_the_tolerance_is_a_fault(tmp_path: Path, tolerance: float, firsts: list[int]) -> None:
    """One spin of an intact dataset is rotated by 1 mrad, which gives a torque of about 4 mJ."""
    schedule = {"sweeps": 20, "torque_tolerance": tolerance}
    stage = Generate.model_validate(SMALL.to_table() | {"schedule": schedule})
    datasets.make(stage, tmp_path)
    assert verify(Catalog.entered(tmp_path)).faults == []

    def rotate_spin(values: dict[str, object]) -> None:
        x, y, z = values["spins"][1, 4, 4]  # type: ignore[index]
        axis = np.cross((x, y, z), np.eye(3)[np.argmin(np.abs((x, y, z)))])
        rotated = (x, y, z) + 1e-3 * axis / np.linalg.norm(axis)
        values["spins"][1, 4, 4] = rotated / np.linalg.norm(rotated)  # type: ignore[index]
        values["energy"] = energy(values["spins"], LABYRINTH)

    rewrite(tmp_path, rotate_spin)
    faults = verify(Catalog.entered(tmp_path)).faults
    assert [fault.first_sample for fault in faults] == firsts
    assert all("torques of up to 0.004" in fault.problem for fault in faults), faults


@pytest.mark.parametrize("file", [shard_name(6), "ledger.jsonl", "job.toml"])
def test_any_flipped_bit_is_reported(dataset: Path, file: str) -> None:
    path = dataset / file
    content = path.read_bytes()
    rng = random.Random(7)
    for position in [0, 8 * len(content) - 1, *(rng.randrange(8 * len(content)) for _ in range(60))]:
        flip_a_bit(path, position)
        files = {fault.file for fault in verify(Catalog.entered(dataset)).faults if fault.file}
        assert files == {file}, position
        path.write_bytes(content)


def test_shard_maker_needs_no_ray(tmp_path: Path) -> None:
    assert ShardMaker(SMALL, tmp_path).work((9, 3)).record.count == 3
