"""A dataset of four shards, and ways to damage its files that verification must detect."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rayspin import job
from rayspin.job import Context
from rayspin.storage import Catalog, LedgerWriter, ShardWriter, ledger, shard_name
from rayspin.storage.shards import read_shard
from tests.support import datasets

SMALL = datasets.labyrinths(12, 16, seed=5, shard_samples=3)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of the job SMALL. Tests must not change it."""
    folder = tmp_path_factory.mktemp("original") / "data"
    job.run(SMALL, folder, Context(), shards="1/1")
    return folder


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    """A copy of the original dataset that a test may damage."""
    return Path(shutil.copytree(original, tmp_path / "data"))


def flip_a_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position // 8] ^= 1 << position % 8
    path.write_bytes(content)


def truncate_shard(folder: Path) -> None:
    path = folder / shard_name(3)
    path.write_bytes(path.read_bytes()[:-1])


def remove_shard(folder: Path) -> None:
    (folder / shard_name(3)).unlink()


def swap_shards(folder: Path) -> None:
    first, second, aside = folder / shard_name(3), folder / shard_name(6), folder / "aside"
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def remove_record(folder: Path) -> None:
    ledger = folder / "ledger.jsonl"
    lines = [line for line in ledger.read_text().splitlines(keepends=True) if '"first_sample": 3,' not in line]
    ledger.write_text("".join(lines))


def rewrite(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Replace a shard by an intact file with wrong values and record it in the ledger."""
    values, attributes = read_shard(folder / shard_name(3))
    del attributes["values_sha256"]
    change(values)
    LedgerWriter(folder).record(ShardWriter(attributes).write(folder / shard_name(3), values))


def remove_ledger(folder: Path) -> None:
    (folder / "ledger.jsonl").unlink()


def remove_job_file(folder: Path) -> None:
    (folder / "job.toml").unlink()


def swap_records(folder: Path) -> None:
    """Append intact records of two shards with exchanged digests to the ledger."""
    first, second = Catalog.entered(folder).records[1:3]
    for one, other in ((first, second), (second, first)):
        record = replace(one, sha256=other.sha256, values_sha256=other.values_sha256)
        LedgerWriter(folder).record(record)


def change_seed(folder: Path) -> None:
    """Change the seed of the job in the job file and in the ledger, but not in the shards."""
    job_file = folder / "job.toml"
    job_file.write_text(job_file.read_text().replace("seed = 5", "seed = 6"))
    ledger.append(folder / "ledger.jsonl", *ledger.new_job(folder))


def add_overlapping_shard(folder: Path) -> None:
    """Add a shard of the samples 4 to 6, which are already in two other shards."""
    values, attributes = read_shard(folder / shard_name(3))
    del attributes["values_sha256"]
    shift_sample_numbers(values)
    LedgerWriter(folder).record(ShardWriter(attributes).write(folder / shard_name(4), values))


def scale_spins(values: dict[str, object]) -> None:
    values["spins"] = values["spins"] * 1.01  # type: ignore[operator]


def change_energy(values: dict[str, object]) -> None:
    values["energy"] = values["energy"] + 1e-6  # type: ignore[operator]


def shift_sample_numbers(values: dict[str, object]) -> None:
    values["sample"] = values["sample"] + 1  # type: ignore[operator]


def shift_splits(values: dict[str, object]) -> None:
    values["split"] = values["split"] + 1  # type: ignore[operator]
