"""A dataset of four shards, and what may be done to its files that verification must find."""

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
    """The dataset that SMALL asks for, to be read only."""
    folder = tmp_path_factory.mktemp("original") / "data"
    job.run(SMALL, folder, Context(), shards="1/1")
    return folder


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    """A copy of it, to be harmed."""
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
