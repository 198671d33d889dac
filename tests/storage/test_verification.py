"""Verification: whatever is done to a dataset is found and named, and repaired to the very bytes it had."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rayspin import job
from rayspin.cluster.generate import Generate, ShardMaker, make_here
from rayspin.cluster.repair import repair
from rayspin.cluster.session import Session
from rayspin.job import Context
from rayspin.physics import LABYRINTH, energy
from rayspin.rundir import RunDir
from rayspin.storage import Catalog, ShardWriter, ledger, shard_name, verify
from rayspin.storage.shards import read_shard

SMALL = Generate.model_validate(
    {
        "samples": 12,
        "size": 16,
        "seed": 5,
        "shard_samples": 3,
        "hamiltonian": "labyrinth",
        "schedule": {"sweeps": 20, "quench_sweeps": 20},
    }
)


@pytest.fixture(scope="module")
def original(ray_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "data"
    job.run(SMALL, folder, Context(ray_session))
    return folder


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def flip_a_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position // 8] ^= 1 << position % 8
    path.write_bytes(content)


def truncate(folder: Path) -> None:
    path = folder / shard_name(3)
    path.write_bytes(path.read_bytes()[:-1])


def remove(folder: Path) -> None:
    (folder / shard_name(3)).unlink()


def swap(folder: Path) -> None:
    first, second, aside = folder / shard_name(3), folder / shard_name(6), folder / "aside"
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def forget(folder: Path) -> None:
    ledger = folder / "ledger.jsonl"
    lines = [line for line in ledger.read_text().splitlines(keepends=True) if '"first_sample": 3,' not in line]
    ledger.write_text("".join(lines))


def rewrite(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """A shard that is whole and entered in the ledger, and whose values are wrong."""
    values, attributes = read_shard(folder / shard_name(3))
    del attributes["values_sha256"]
    change(values)
    Catalog.read(folder).append(ShardWriter(attributes).write(folder / shard_name(3), values))


def forget_all(folder: Path) -> None:
    (folder / "ledger.jsonl").unlink()


def lose_the_job(folder: Path) -> None:
    (folder / "job.toml").unlink()


def swap_records(folder: Path) -> None:
    """Lines that are whole, with the digests of each other's files."""
    first, second = Catalog.entered(folder).records[1:3]
    for one, other in ((first, second), (second, first)):
        record = replace(one, sha256=other.sha256, values_sha256=other.values_sha256)
        Catalog.read(folder).append(record)


def ask_for_another_seed(folder: Path) -> None:
    """A job that the ledger knows and that did not make the shards."""
    job_file = folder / "job.toml"
    job_file.write_text(job_file.read_text().replace("seed = 5", "seed = 6"))
    ledger.append(folder / "ledger.jsonl", *ledger.new_job(folder))


def write_another_over_two(folder: Path) -> None:
    """Samples 4 to 6, which two shards hold."""
    values, attributes = read_shard(folder / shard_name(3))
    del attributes["values_sha256"]
    renumber(values)
    Catalog.read(folder).append(ShardWriter(attributes).write(folder / shard_name(4), values))


def lengthen(values: dict[str, object]) -> None:
    values["spins"] = values["spins"] * 1.01  # type: ignore[operator]


def misstate_energy(values: dict[str, object]) -> None:
    values["energy"] = values["energy"] + 1e-6  # type: ignore[operator]


def renumber(values: dict[str, object]) -> None:
    values["sample"] = values["sample"] + 1  # type: ignore[operator]


def shuffle_splits(values: dict[str, object]) -> None:
    values["split"] = values["split"] + 1  # type: ignore[operator]


@pytest.mark.ray
def test_a_sound_dataset_has_no_faults(original: Path) -> None:
    seen = []
    assert verify(Catalog.entered(original), lambda: seen.append(1)).faults == []
    assert len(seen) == 4


@pytest.mark.ray
@pytest.mark.parametrize(
    ("harm", "firsts", "problem"),
    [
        (truncate, [3], "bytes, not"),
        (remove, [3], "is missing"),
        (swap, [3, 6], "its digest differs: it is shard-00000006.nc"),
        (forget, [3], "are in no shard"),
        (lambda folder: rewrite(folder, lengthen), [3], "not of unit length (off by 0.01)"),
        (lambda folder: rewrite(folder, misstate_energy), [3], "not those of its spins (off by 1e-06 J)"),
        (lambda folder: rewrite(folder, renumber), [0, 3], "ledger.jsonl line 6 is not what was written"),
        (write_another_over_two, [4, 6], "holds samples below 7 a second time"),
        (lambda folder: rewrite(folder, shuffle_splits), [3], "holds another 'split' than its job"),
        (forget_all, [0, 3, 6, 9], "are in no shard"),
        (forget_all, [0], "ledger.jsonl is missing"),
        (lose_the_job, [0], "job.toml is missing"),
        (swap_records, [3, 6], "its digest differs: it is shard-00000006.nc"),
        (ask_for_another_seed, [0, 3, 6, 9], "has the root seed 5, not 6"),
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
    with RunDir.at(tmp_path).claimed(stage.identity()):
        make_here(stage, tmp_path)
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


@pytest.mark.ray
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


@pytest.mark.ray
@pytest.mark.parametrize(
    "harm",
    [
        forget,
        forget_all,
        lose_the_job,
        lambda folder: flip_a_bit(folder / "ledger.jsonl", 8 * 700),
        lambda folder: flip_a_bit(folder / "job.toml", 8 * 100),
        lambda folder: rewrite(folder, lengthen),
    ],
)
def test_repair_mends_ledger_and_job_and_shards_wrong_from_the_first(
    dataset: Path, original: Path, ray_session: Session, harm: Callable[[Path], None]
) -> None:
    harm(dataset)
    assert repair(dataset, Context(ray_session)) != []
    assert repair(dataset, Context(ray_session)) == []
    for name in ("job.toml", *map(shard_name, (0, 3, 6, 9))):
        assert (dataset / name).read_bytes() == (original / name).read_bytes()
    assert Catalog.read(dataset).records == Catalog.read(original).records


@pytest.mark.ray
def test_repair_makes_the_bad_shards_again_and_no_others(dataset: Path, original: Path, ray_session: Session) -> None:
    flip_a_bit(dataset / shard_name(0), 12345)
    remove(dataset)
    untouched = {first: (dataset / shard_name(first)).stat().st_mtime_ns for first in (6, 9)}
    faults = repair(dataset, Context(ray_session))
    assert [fault.first_sample for fault in faults] == [0, 3]
    assert verify(Catalog.entered(dataset)).faults == []
    for first in (0, 3, 6, 9):
        assert (dataset / shard_name(first)).read_bytes() == (original / shard_name(first)).read_bytes()
    assert {first: (dataset / shard_name(first)).stat().st_mtime_ns for first in untouched} == untouched
    assert repair(dataset, Context(ray_session)) == []


def test_a_shard_maker_needs_no_ray(tmp_path: Path) -> None:
    assert ShardMaker(SMALL, tmp_path).work((9, 3)).record.count == 3
