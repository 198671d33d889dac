"""Verify a dataset: every byte against the ledger, every value against the physics it claims."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.inputs import parse_json
from rayspin.physics.examination import Examination, energy_bounds, examine
from rayspin.storage import ledger
from rayspin.storage.catalog import Catalog
from rayspin.storage.hdf5 import reading
from rayspin.storage.points import Point, each_point, parameters_of, point_numbers
from rayspin.storage.shards import ShardRecord, file_digest, read_header

LENGTH_TOLERANCE = 1e-5
"""Of |S| - 1: float32 rounding of the last update, with a margin."""

ENERGY_TOLERANCE = 1e-9
"""Of a stored energy against that of the stored spins, in units of the largest coupling: both are sums in float64."""

TORQUE_TOLERANCE = 1e-5
"""Of a torque above what its schedule promises, in units of the largest coupling: the quench saw the fields of spins in
float32."""

DERIVED_TOLERANCE = 1e-5
"""Of stored fields and coarse versions against those of the stored spins, relative to the largest: both are float32."""

_SHOWN = 200
"""Characters of what a shard says of itself."""


@dataclass(frozen=True)
class Fault:
    """Something wrong with a shard; with `count` 0, with the ledger or the job."""

    first_sample: int
    count: int
    file: str
    problem: str
    as_written: bool = False
    """The file is the one that the ledger names: what is wrong with it was so from the first."""


@dataclass(frozen=True)
class Verification:
    """What a dataset was found to be.

    Attributes:
        faults: everything wrong, in the order of its samples; empty for a sound dataset.
        torques: (N,) largest |S x F| of each sample of sound shards, J. One above the tolerance is a fault where the
            schedule names no number of quench sweeps; where it does, the quench may have ended after them.
        tolerances: (N,) the torque that each one's schedule allows, J, with the rounding of float32.
    """

    faults: list[Fault]
    torques: npt.NDArray[np.float64]
    tolerances: npt.NDArray[np.float64]

    @property
    def relaxed(self) -> int:
        """Samples whose torques are within their tolerance."""
        return int((self.torques <= self.tolerances).sum())


def verify(
    catalog: Catalog | str | Path,
    on_shard: Callable[[], None] = lambda: None,
    records: Sequence[ShardRecord] | None = None,
) -> Verification:
    """Read a dataset in full, and hold every byte against its ledger and every value against its job.

    Found are: a flipped bit anywhere in a shard, the ledger or the job, a truncated, swapped, foreign or missing file,
    samples missing or twice, variables, splits, parameters or attributes that are not those of the job, spins that are
    no unit vectors, energies that are not those of the spins under their Hamiltonian or that no spins have, torques
    above what the schedule promises. The card and the summary are made from these and not looked at. Shards are read
    in threads, one a core: hashing and the kernels let go of Python.

    Args:
        catalog: of the whole ledger (`Catalog.entered`), also of files that are gone; or the dataset's folder.
        on_shard: called in this thread after each shard.
        records: the shards to read, of those in the catalog; by default all. Ledger, job and coverage are looked at
            in any case.

    Raises:
        MachineError: the system fails to read a file, which says nothing of the file.
    """
    if not isinstance(catalog, Catalog):
        catalog = Catalog.entered(catalog)
    read = catalog.records if records is None else records
    faults = [*_bookkeeping(catalog.path), *_coverage(catalog)]
    torques, tolerances = [], []
    by_point = np.array([_allowed_torque(point) for point in catalog.points])
    by_digest = {record.sha256: record.file for record in catalog.records}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        looks = pool.map(lambda record: _look(catalog, record, by_digest), read)
        for record, found in zip(read, looks):
            if isinstance(found, Fault):
                faults.append(found)
            else:
                torques.append(found)
                points = point_numbers(_samples(record), catalog.points)
                tolerances.append(by_point[points])
            on_shard()
    nothing = np.empty(0)
    return Verification(
        sorted(faults, key=lambda fault: fault.first_sample),
        np.concatenate([nothing, *torques]),
        np.concatenate([nothing, *tolerances]),
    )


def _bookkeeping(folder: Path) -> Iterator[Fault]:
    """What is wrong with the ledger and the job."""
    if not ledger.begun(folder):
        yield Fault(0, 0, ledger.LEDGER, "is missing")
    for file, line in ledger.bad_lines(folder):
        yield Fault(0, 0, file, f"line {line} is not what was written")
    text = ledger.read_job(folder)
    if text is None:
        yield Fault(0, 0, ledger.JOB, "is missing")
    elif text not in ledger.jobs(folder):
        if ledger.knows_job(folder, text) or not ledger.jobs(folder):
            yield Fault(0, 0, ledger.LEDGER, "has no line of the job")
        else:
            yield Fault(0, 0, ledger.JOB, "is not what was written")


def _coverage(catalog: Catalog) -> Iterator[Fault]:
    """Samples that no shard holds, or more than one."""
    for first, count in catalog.missing(catalog.layout.samples, catalog.layout.shard_samples):
        yield Fault(first, count, "", f"samples {first} to {first + count - 1} are in no shard")
    end = 0
    for record in catalog.records:
        if record.first_sample < end:
            yield Fault(record.first_sample, record.count, record.file, f"holds samples below {end} a second time")
        end = max(end, record.first_sample + record.count)


def _look(catalog: Catalog, record: ShardRecord, by_digest: Mapping[str, str]) -> Fault | npt.NDArray[np.float64]:
    """What is wrong with a shard; else the largest torque of each of its samples."""
    problem = _file_problem(catalog.path / record.file, record, by_digest)
    try:
        found = problem or _examine(catalog.only(record), record)
    except InputError as error:
        # The bytes are those of the ledger, but no shard, or none that the ledger describes.
        found = error.problem
    if isinstance(found, str):
        return Fault(record.first_sample, record.count, record.file, found, as_written=problem is None)
    return found


def _file_problem(path: Path, record: ShardRecord, by_digest: Mapping[str, str]) -> str | None:
    """What tells a file from the one that was written."""
    try:
        with reading(path) as there:
            if there.st_size != record.bytes:
                return f"has {there.st_size} bytes, not {record.bytes}"
            digest = file_digest(path)
    except InputError as error:
        return error.problem
    if digest != record.sha256:
        other = f": it is {by_digest[digest]}" if digest in by_digest else ""
        return f"is not what was written: its digest differs{other}"
    return None


def _examine(shard: Catalog, record: ShardRecord) -> str | npt.NDArray[np.float64]:
    """What the values of a single shard lack, or their torques; its bytes are those that were written."""
    samples = _samples(record)
    if (problem := _header_problem(shard, record)) is not None:
        return problem
    for name, expected in _expected(shard, samples).items():
        if not np.array_equal(shard.column(name), expected, equal_nan=expected.dtype.kind == "f"):
            return f"holds another {name!r} than its job and the ledger say"
    stored = shard.column("energy")
    spins_NYXC = shard.reader().whole()
    torques = np.empty(record.count)
    for point, here in each_point(shard.points, samples):
        found = examine(spins_NYXC[here], point.hamiltonian)
        if (problem := _physics_problem(point, stored[here], found)) is not None:
            return problem
        torques[here] = found.torque
    for name in shard.derived.variables:
        expected = shard.derived.compute(name, shard.points, samples, spins_NYXC)
        off = np.abs(shard.reader(variable=name).whole() - expected).max()
        if not off <= DERIVED_TOLERANCE * np.abs(expected).max():
            return f"has a {name!r} that is not that of its spins (off by {off:.2g})"
    return torques


def _physics_problem(point: Point, energies: npt.NDArray[np.float64], found: Examination) -> str | None:
    """What stored spins and energies of one point lack to be samples of it."""
    if not found.length_error.max() <= LENGTH_TOLERANCE:
        return f"has spins that are not of unit length (off by {found.length_error.max():.2g})"
    off = np.abs(energies - found.energy).max()
    rounding = ENERGY_TOLERANCE * point.hamiltonian.largest_coupling
    if not off <= rounding:
        return f"has energies that are not those of its spins (off by {off:.2g} J)"
    lowest, highest = energy_bounds(point.hamiltonian, 1 + found.length_error.max())
    if not (lowest - rounding <= energies.min() and energies.max() <= highest + rounding):
        return f"has energies out of the bounds of its Hamiltonian, {lowest:.5g} to {highest:.5g} J"
    largest = found.torque.max()
    if point.schedule.quench_sweeps is None and not largest <= _allowed_torque(point):
        promised = point.schedule.largest_torque(point.hamiltonian)
        return f"has torques of up to {largest:.2g} J, above the {promised:g} J that its schedule promises"
    return None


def _allowed_torque(point: Point) -> float:
    """The largest |S x F| of a sample of a point that its schedule and the rounding of its spins explain, J."""
    return point.schedule.largest_torque(point.hamiltonian) + TORQUE_TOLERANCE * point.hamiltonian.largest_coupling


def _header_problem(shard: Catalog, record: ShardRecord) -> str | None:
    """What a shard says of itself that its job and the ledger do not."""
    variables, attributes = read_header(shard.path / record.file)
    schema = {name: (of.shape(record.count, shard.shape), of.dtype) for name, of in shard.variables.items()}
    if variables != schema:
        return f"has the variables {variables}, not {schema}"
    # It was held against the values when they were written.
    if attributes.get("values_sha256") != record.values_sha256:
        return "has another digest of its values than the ledger"
    if attributes.get("root_seed") != str(shard.layout.seed):
        return f"has the root seed {attributes.get('root_seed')}, not {shard.layout.seed}"
    for key in ("hamiltonian", "schedule", "variants", "grid", "derived"):
        if parse_json(attributes.get(key, "null"), key) != shard.job.get(key):
            return f"has another {key} than its job: {attributes.get(key, 'none')[:_SHOWN]}"
    return None


def _expected(shard: Catalog, samples: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """The values that follow from the job alone, by variable."""
    numbers = point_numbers(samples, shard.points)
    parameters = {name: values[numbers] for name, (_, values) in parameters_of(shard.points).items()}
    return {"sample": samples, "split": shard.layout.splits.codes(samples), **parameters}


def _samples(record: ShardRecord) -> npt.NDArray[np.int64]:
    return np.arange(record.first_sample, record.first_sample + record.count)
