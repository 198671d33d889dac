"""Verify a dataset: every byte against the ledger, every value against the physics it claims."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from rayspin.physics import energy
from rayspin.storage.catalog import Catalog
from rayspin.storage.shards import ShardRecord, file_digest

LENGTH_TOLERANCE = 1e-5
"""Of |S| - 1: float32 rounding of the last update, with a margin."""

ENERGY_TOLERANCE = 1e-9
"""Of a stored energy against the one of the stored spins, J: both are sums in float64."""


@dataclass(frozen=True)
class Fault:
    """Something wrong with a shard."""

    first_sample: int
    count: int
    file: str
    problem: str


def verify(catalog: Catalog, on_shard: Callable[[], None] = lambda: None) -> list[Fault]:
    """Everything wrong with a dataset, in the order of its samples; an empty list for a sound one.

    Found are: a flipped bit anywhere in a shard, a truncated, swapped, foreign or missing file, samples missing or
    twice, spins that are no unit vectors, energies that are not those of the spins. Shards are read in threads, one
    a core: hashing and the kernels let go of Python.

    Args:
        catalog: of the whole ledger (`Catalog.entered`), also of files that are gone.
        on_shard: called in this thread after each shard.
    """
    faults = list(_coverage(catalog))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for record, problem in zip(
            catalog.records, pool.map(lambda record: _problem(catalog, record), catalog.records)
        ):
            if problem is not None:
                faults.append(Fault(record.first_sample, record.count, record.file, problem))
            on_shard()
    return sorted(faults, key=lambda fault: fault.first_sample)


def _coverage(catalog: Catalog) -> Iterator[Fault]:
    """Samples that no shard holds, or more than one."""
    for first, count in catalog.missing(catalog.job["samples"], catalog.job["shard_samples"]):
        yield Fault(first, count, "", f"samples {first} to {first + count - 1} are in no shard")
    end = 0
    for record in catalog.records:
        if record.first_sample < end:
            yield Fault(record.first_sample, record.count, record.file, f"holds samples below {end} a second time")
        end = max(end, record.first_sample + record.count)


def _problem(catalog: Catalog, record: ShardRecord) -> str | None:
    path = catalog.path / record.file
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != record.bytes:
        return f"has {path.stat().st_size} bytes, not {record.bytes}"
    if file_digest(path) != record.sha256:
        return "is not what was written: its digest differs"
    return _unphysical(Catalog(catalog.path, (record,)), record)


def _unphysical(shard: Catalog, record: ShardRecord) -> str | None:
    """What the values of a single shard lack; its bytes are those that were written."""
    expected = np.arange(record.first_sample, record.first_sample + record.count)
    if not np.array_equal(shard.column("sample"), expected):
        return "holds other samples than the ledger says"
    spins_NYXC = shard.reader().read(np.arange(record.count))
    lengths = np.linalg.norm(spins_NYXC.astype(np.float64), axis=-1)
    if not np.abs(lengths - 1).max() <= LENGTH_TOLERANCE:
        return f"has spins that are not of unit length (off by {np.abs(lengths - 1).max():.2g})"
    off = np.abs(shard.column("energy") - energy(spins_NYXC, shard.hamiltonian)).max()
    if not off <= ENERGY_TOLERANCE:
        return f"has energies that are not those of its spins (off by {off:.2g} J)"
    return None
