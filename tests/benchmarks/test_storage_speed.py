"""Speed of verifying, opening and reading datasets; `make bench` gives figures.

Without --benchmark-enable the benchmarks are tests with small sizes. `extra_info` contains the figures, with
a reference that was measured in the same run on the same cores.
"""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin.storage import Catalog, open_dataset, verify
from tests.support import datasets
from tests.support.random_spins import RandomSpins, table

CORES = 2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """4000 samples of 128 x 128 (786 MB) in shards of 100, or a few small samples in a test."""
    enabled = request.config.getoption("benchmark_enable")
    samples, per_shard, size = (4000, 100, 128) if enabled else (64, 16, 16)
    return datasets.make(
        RandomSpins.model_validate(table(samples, per_shard, size)), tmp_path_factory.mktemp("read") / "data"
    )


def test_verify_relative_to_the_page_cache(benchmark, dataset: Path) -> None:
    """Bytes per second of `verify`, of reading the same files with two threads, and of computing their SHA-256."""
    catalog = Catalog.entered(dataset)
    paths = [dataset / record.file for record in catalog.records]

    def seconds(work: Any) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(work, paths))
        return time.perf_counter() - start

    def digest(path: Path) -> str:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    seconds(Path.read_bytes)
    reading, hashing = seconds(Path.read_bytes), seconds(digest)
    verification = benchmark.pedantic(verify, (catalog,), rounds=3, iterations=1, warmup_rounds=1)
    assert verification.faults == []
    if benchmark.enabled:
        gigabytes = catalog.bytes / 1e9
        benchmark.extra_info["GB/s verify, page cache, SHA-256"] = [
            round(gigabytes / s, 2) for s in (benchmark.stats.stats.median, reading, hashing)
        ]


def test_open_a_thousand_shards(benchmark, tmp_path: Path) -> None:
    shards = 1000 if benchmark.enabled else 20
    folder = datasets.make(RandomSpins.model_validate(table(shards, 1, 8)), tmp_path / "data")
    view = benchmark.pedantic(open_dataset, (folder,), rounds=3, iterations=1)
    assert view.sizes["sample"] == shards


def test_random_batches(benchmark, dataset: Path) -> None:
    """Random batches of 32 samples from all shards, as in a training."""
    reader = Catalog.open(dataset).reader()
    order = np.random.default_rng(1).permutation(len(reader))
    batches = np.array_split(order, max(1, len(order) // 32))

    def read() -> int:
        return sum(len(reader.read(batch)) for batch in batches)

    assert benchmark.pedantic(read, rounds=5, iterations=1, warmup_rounds=1) == len(reader)
    if benchmark.enabled:
        benchmark.extra_info["samples per second"] = round(len(reader) / benchmark.stats.stats.median)
