"""Verification of datasets: all bytes against the ledger, and all values against the job and the physics."""

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
"""Tolerance of ||S| - 1|: the float32 rounding of the last update, with a margin."""

ENERGY_TOLERANCE = 1e-9
"""Tolerance of a stored energy per site, which is a float64 sum, in units of the largest coupling."""

TORQUE_TOLERANCE = 1e-5
"""Tolerance of a torque above the limit of its schedule, in units of the largest coupling: the quench computed the
fields of spins in float32."""

DERIVED_TOLERANCE = 1e-5
"""Tolerance of stored fields and coarse spins, which are float32, relative to the largest component."""

_SHOWN = 200
"""Number of characters of an attribute that a message shows."""


@dataclass(frozen=True)
class Fault:
    """A fault of a shard or, if `count` is 0, of the ledger or the job."""

    first_sample: int
    """Number of the first affected sample."""
    count: int
    """Number of affected samples."""
    file: str
    """Name of the faulty file; empty for samples that no shard holds."""
    problem: str
    """What is wrong, as the end of a sentence that starts with the file name."""
    as_written: bool = False
    """Whether the file matches its digest in the ledger, so that the fault existed when the shard was written."""


@dataclass(frozen=True)
class Verification:
    """The result of a verification.

    Attributes:
        faults: all faults, sorted by first sample; empty for an intact dataset.
        torques: (N,) largest |S x F| of each sample in shards without faults, J. A torque above the tolerance is a
            fault only if the schedule sets no number of quench sweeps; otherwise the quench may end before it is met.
        tolerances: (N,) the largest torque that each sample's schedule allows, including float32 rounding, J.
    """

    faults: list[Fault]
    torques: npt.NDArray[np.float64]
    tolerances: npt.NDArray[np.float64]

    @property
    def relaxed(self) -> int:
        """Number of samples whose torque is within its tolerance."""
        return int((self.torques <= self.tolerances).sum())


def verify(
    catalog: Catalog | str | Path,
    on_shard: Callable[[], None] = lambda: None,
    records: Sequence[ShardRecord] | None = None,
) -> Verification:
    """Read a dataset in full, and compare every byte with its ledger and every value with its job.

    Verification detects a flipped bit anywhere in a shard, the ledger or the job; truncated, swapped, foreign and
    missing files; missing and duplicate samples; variables, splits, parameters and attributes that differ from the job;
    spins that are not unit vectors; energies that differ from those of the spins or are impossible under the
    Hamiltonian; and torques above the limit of the schedule. The dataset card and the summary are derived from these
    and not checked. Shards are read by one thread per core, since hashing and the kernels release the GIL.

    Args:
        catalog: the catalog of the whole ledger (`Catalog.entered`), including missing files; or the dataset folder.
        on_shard: called in the calling thread after each shard.
        records: the shards of the catalog to read; by default all. The ledger, the job and the coverage of samples are
            always checked.

    Returns:
        the faults, and the torques of the samples in shards without faults.

    Raises:
        InputError: the job can't be read, or the ledger is not a regular file.
        MachineError: the system fails to read a file, which may be intact.
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
    """Faults of the ledger and the job."""
    if not ledger.begun(folder):
        yield Fault(0, 0, ledger.LEDGER, "is missing")
    for file, line in ledger.contents(folder).damaged:
        yield Fault(0, 0, file, f"line {line} is damaged")
    text = ledger.read_job(folder)
    if text is None:
        yield Fault(0, 0, ledger.JOB, "is missing")
    elif text not in ledger.contents(folder).jobs:
        if ledger.knows_job(folder, text) or not ledger.contents(folder).jobs:
            yield Fault(0, 0, ledger.LEDGER, "has no line for the job")
        else:
            yield Fault(0, 0, ledger.JOB, "differs from the job that was written")


def _coverage(catalog: Catalog) -> Iterator[Fault]:
    """Faults of samples that no shard, or more than one shard, holds."""
    for first, count in catalog.missing(catalog.layout.samples, catalog.layout.shard_samples):
        yield Fault(first, count, "", f"samples {first} to {first + count - 1} are in no shard")
    end = 0
    for record in catalog.records:
        if record.first_sample < end:
            yield Fault(record.first_sample, record.count, record.file, f"duplicates samples below {end}")
        end = max(end, record.first_sample + record.count)


def _look(catalog: Catalog, record: ShardRecord, by_digest: Mapping[str, str]) -> Fault | npt.NDArray[np.float64]:
    """The fault of a shard; if there is none, the largest torque of each of its samples, J, (n,)."""
    problem = _file_problem(catalog.path / record.file, record, by_digest)
    try:
        found = problem or _examine(catalog.only(record), record)
    except InputError as error:
        # The file matches its digest but is not a shard, or not the one that the ledger describes.
        found = error.problem
    if isinstance(found, str):
        return Fault(record.first_sample, record.count, record.file, found, as_written=problem is None)
    return found


def _file_problem(path: Path, record: ShardRecord, by_digest: Mapping[str, str]) -> str | None:
    """How a file differs from the one recorded in the ledger, or None."""
    try:
        with reading(path) as there:
            if there.st_size != record.bytes:
                return f"has {there.st_size} bytes, not {record.bytes}"
            digest = file_digest(path)
    except InputError as error:
        return error.problem
    if digest != record.sha256:
        other = f": it has the content of {by_digest[digest]}" if digest in by_digest else ""
        return f"has changed since it was written: its digest differs{other}"
    return None


def _examine(shard: Catalog, record: ShardRecord) -> str | npt.NDArray[np.float64]:
    """What is wrong with the values of a shard whose digest is correct; if nothing, the torques of its samples."""
    samples = _samples(record)
    if (problem := _header_problem(shard, record)) is not None:
        return problem
    for name, expected in _expected(shard, samples).items():
        if not np.array_equal(shard.column(name), expected, equal_nan=expected.dtype.kind == "f"):
            return f"holds values of {name!r} that differ from the job and the ledger"
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
            return f"has values of {name!r} that differ from those of its spins (by {off:.2g})"
    return torques


def _physics_problem(point: Point, energies: npt.NDArray[np.float64], found: Examination) -> str | None:
    """What is wrong with the stored spins and energies of samples of one point, or None."""
    if not found.length_error.max() <= LENGTH_TOLERANCE:
        return f"has spins that don't have unit length (off by {found.length_error.max():.2g})"
    off = np.abs(energies - found.energy).max()
    rounding = ENERGY_TOLERANCE * point.hamiltonian.largest_coupling
    if not off <= rounding:
        return f"has energies that differ from those of its spins (by {off:.2g} J)"
    lowest, highest = energy_bounds(point.hamiltonian, 1 + found.length_error.max())
    if not (lowest - rounding <= energies.min() and energies.max() <= highest + rounding):
        return f"has energies outside the bounds of its Hamiltonian, {lowest:.5g} to {highest:.5g} J"
    largest = found.torque.max()
    if point.schedule.quench_sweeps is None and not largest <= _allowed_torque(point):
        promised = point.schedule.largest_torque(point.hamiltonian)
        return f"has torques of up to {largest:.2g} J, above its schedule's tolerance of {promised:g} J"
    return None


def _allowed_torque(point: Point) -> float:
    """The largest |S x F| allowed for a sample of a point, from its schedule and the rounding of its spins, J."""
    return point.schedule.largest_torque(point.hamiltonian) + TORQUE_TOLERANCE * point.hamiltonian.largest_coupling


def _header_problem(shard: Catalog, record: ShardRecord) -> str | None:
    """How the header of a shard differs from its job and the ledger, or None."""
    variables, attributes = read_header(shard.path / record.file)
    schema = {name: (of.shape(record.count, shard.shape), of.dtype) for name, of in shard.variables.items()}
    if variables != schema:
        return f"has the variables {variables}, not {schema}"
    # The values themselves were compared with this digest when the shard was written.
    if attributes.get("values_sha256") != record.values_sha256:
        return "has a digest of its values that differs from the ledger's"
    if attributes.get("root_seed") != str(shard.layout.seed):
        return f"has the root seed {attributes.get('root_seed')}, not {shard.layout.seed}"
    for key in ("hamiltonian", "schedule", "variants", "grid", "derived"):
        if parse_json(attributes.get(key, "null"), key) != shard.job.get(key):
            return f"has a {key} that differs from its job's: {attributes.get(key, 'none')[:_SHOWN]}"
    return None


def _expected(shard: Catalog, samples: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """The values that the job alone determines, by variable."""
    numbers = point_numbers(samples, shard.points)
    parameters = {name: values[numbers] for name, (_, values) in parameters_of(shard.points).items()}
    return {"sample": samples, "split": shard.layout.splits.codes(samples), **parameters}


def _samples(record: ShardRecord) -> npt.NDArray[np.int64]:
    return np.arange(record.first_sample, record.first_sample + record.count)
