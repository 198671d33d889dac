"""A dataset of four shards, and kinds of damage to its files that a verification must find."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rayspin import job
from rayspin.job import Context
from rayspin.storage import Catalog, ShardWriter, ledger, shard_name
from rayspin.storage.shards import read_shard
from tests.support import datasets

SMALL = datasets.labyrinths(12, 16, seed=5, shard_samples=3)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of SMALL; tests must not change it."""
    folder = tmp_path_factory.mktemp("original") / "data"
    job.run(SMALL, folder, Context(), shards="1/1")
    return folder


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that tests may damage."""
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
    """Replace a shard by a complete one that is recorded in the ledger but has wrong values."""
    values, attributes = read_shard(folder / shard_name(3))
    del attributes["values_sha256"]
    change(values)
    Catalog.read(folder).append(ShardWriter(attributes).write(folder / shard_name(3), values))


def forget_all(folder: Path) -> None:
    (folder / "ledger.jsonl").unlink()


def lose_the_job(folder: Path) -> None:
    (folder / "job.toml").unlink()


def swap_records(folder: Path) -> None:
    """Swap the digests of two files in the ledger; the lines remain valid."""
    first, second = Catalog.entered(folder).records[1:3]
    for one, other in ((first, second), (second, first)):
        record = replace(one, sha256=other.sha256, values_sha256=other.values_sha256)
        Catalog.read(folder).append(record)


def ask_for_another_seed(folder: Path) -> None:
    """Record another job in the ledger than the one that generated the shards."""
    job_file = folder / "job.toml"
    job_file.write_text(job_file.read_text().replace("seed = 5", "seed = 6"))
    ledger.append(folder / "ledger.jsonl", *ledger.new_job(folder))


def write_another_over_two(folder: Path) -> None:
    """Write a shard of samples 4 to 6, which are then in two shards."""
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
