"""The catalog of a dataset folder: the shards that its ledger records, and memory-mapped access to their samples.

A dataset is a folder that holds shards (`shard-*.nc`), a ledger (one record per line, appended and synced after the
shard is in place; see `rayspin.storage.ledger`) and the resolved job (`job.toml`). Readers use only the shards that the
ledger records.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayspin.config import build, suggestion
from rayspin.errors import InputError, shown
from rayspin.inputs import parse_toml
from rayspin.paths import command
from rayspin.physics import Hamiltonian
from rayspin.physics.arguments import series_of_integers
from rayspin.storage import ledger
from rayspin.storage.derived import Derived, variables_of
from rayspin.storage.hdf5 import reading
from rayspin.storage.points import Point, energies_at, point_numbers, points_of
from rayspin.storage.schema import COMPONENTS, SPLITS, Layout, Split, Variable
from rayspin.storage.shards import ShardRecord, inspect_shard, read_rows, shard_name


def mending(path: Path) -> str:
    """The remedy of an error about missing samples: the command that repairs the dataset at `path`."""
    return f"generate them with {command('repair', path)}"


_SHOWN_GAPS = 3
"""Number of gaps that a message lists."""


@dataclass(frozen=True)
class Catalog:
    """The finished shards of a dataset folder, in the order of their samples.

    Attributes:
        path: the dataset folder.
        records: the record of each shard, sorted by first sample.
    """

    path: Path
    records: tuple[ShardRecord, ...]

    @classmethod
    def entered(cls, path: str | Path) -> Catalog:
        """The catalog of every shard in the ledger of the dataset at `path`, whether or not its file exists.

        Damaged lines are skipped; for example, a killed process may leave the last line incomplete.

        Args:
            path: the dataset folder.

        Raises:
            InputError: a ledger is not a regular file.
        """
        return cls(Path(path), ledger.contents(Path(path)).records)

    @classmethod
    def history(cls, path: str | Path) -> list[dict[str, Any]]:
        """Every entry of the ledger, in the order written: the record, the host, the time and the duration."""
        return list(ledger.entries(Path(path)))

    @classmethod
    def read(cls, path: str | Path) -> Catalog:
        """The catalog of the recorded shards whose file exists and has the recorded size.

        The catalog of a folder without a ledger is empty.

        Args:
            path: the dataset folder.

        Raises:
            InputError: a ledger is not a regular file.
            MachineError: the system fails to read a shard's size.
        """
        catalog = cls.entered(path)
        whole = (record for record in catalog.records if _has_size(catalog.path / record.file, record.bytes))
        return cls(catalog.path, tuple(whole))

    @classmethod
    def open(cls, path: str | Path, *, incomplete: bool = False) -> Catalog:
        """Open an existing dataset for reading.

        Args:
            path: the dataset folder.
            incomplete: accept a dataset that lacks samples.

        Raises:
            InputError: the folder is not a dataset, has no finished shard, or lacks samples and `incomplete` is false.
            MachineError: the system fails to read a shard's size.
        """
        if not ledger.begun(Path(path)):
            raise InputError(str(path), "is not a dataset (no ledger)", "give the folder that a generate job wrote")
        catalog = cls.read(path)
        if not catalog.records:
            raise InputError(str(path), "has no finished shard", "run its job first")
        if catalog.lacking and not incomplete:
            raise InputError(
                str(path), catalog.lacking, f"{mending(Path(path))}, or use the dataset as it is with incomplete = true"
            )
        return catalog

    def orphan(self, first_sample: int, count: int, attributes: Mapping[str, str]) -> ShardRecord | None:
        """The record of a shard whose file was written but not recorded before the run was killed, or None.

        The shard must be intact, hold exactly these samples and carry these attributes.

        Args:
            first_sample: number of the first sample.
            count: number of samples.
            attributes: global attributes that the shard must carry.

        Raises:
            MachineError: the system fails to read the file.
        """
        try:
            record = inspect_shard(self.path / shard_name(first_sample), attributes)
        except InputError:
            return None
        return record if (record.first_sample, record.count) == (first_sample, count) else None

    @property
    def samples_done(self) -> int:
        """Number of samples in the finished shards."""
        return sum(record.count for record in self.records)

    @cached_property
    def lacking(self) -> str:
        """A message that lists the samples that the job requests and no shard holds; empty if none are missing."""
        # One shard size for all samples: gaps are not cut at the boundaries of shards.
        gaps = self.missing(self.layout.samples, self.layout.samples)
        if not gaps:
            return ""
        named = ", ".join(f"{first} to {first + count - 1}" for first, count in gaps[:_SHOWN_GAPS])
        more = f" and {len(gaps) - _SHOWN_GAPS} more gaps" if len(gaps) > _SHOWN_GAPS else ""
        lost = sum(count for _, count in gaps)
        return f"{lost} of {self.layout.samples} samples are missing ({named}{more})"

    @property
    def bytes(self) -> int:
        """Total size of the finished shards, bytes."""
        return sum(record.bytes for record in self.records)

    def missing(self, samples: int, shard_samples: int) -> list[tuple[int, int]]:
        """The shards still to generate, as (first sample, count), cut at multiples of `shard_samples`.

        Args:
            samples: number of samples of the complete dataset.
            shard_samples: number of samples of a full shard.
        """
        wanted: list[tuple[int, int]] = []
        start = 0
        done = [(record.first_sample, record.count) for record in self.records]
        for first, count in [*done, (samples, 0)]:
            while start < min(first, samples):
                stop = min(first, samples, (start // shard_samples + 1) * shard_samples)
                wanted.append((start, stop - start))
                start = stop
            start = max(start, first + count)
        return wanted

    @cached_property
    def job(self) -> dict[str, Any]:
        """The resolved job of the dataset, taken from the ledger if `job.toml` is missing or has changed.

        Raises:
            InputError: neither the file nor the ledger holds a valid job.
        """
        where, remedy = str(self.path / ledger.JOB), "restore the job file that generated the dataset"
        return parse_toml(ledger.job_text(self.path) or "", where, remedy)

    @cached_property
    def layout(self) -> Layout:
        """The sizes that the job specifies (samples, lattice, seed, shards and splits).

        Raises:
            InputError: the job is not that of a dataset.
        """
        return build(Layout, self.job, str(self.path / ledger.JOB))

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """The parameter points that samples are assigned to in turn; a job without variants or a grid has one."""
        return points_of(self.job, str(self.path / ledger.JOB))

    @property
    def point_numbers(self) -> npt.NDArray[np.int32]:
        """Index of each sample's parameter point, (samples,), in the order of the samples."""
        return point_numbers(self.samples, self.points)

    @cached_property
    def hamiltonian(self) -> Hamiltonian:
        """The Hamiltonian that all samples share.

        Raises:
            InputError: the samples have more than one Hamiltonian.
        """
        hamiltonians = {point.hamiltonian for point in self.points}
        if len(hamiltonians) > 1:
            raise InputError(
                str(self.path),
                f"the samples have {len(hamiltonians)} Hamiltonians",
                "give a dataset with a single Hamiltonian",
            )
        return self.points[0].hamiltonian

    def energies(self, samples: npt.NDArray[np.int64], spins_NYXC: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Energy per site of each sample under its own Hamiltonian, J, (n,).

        Args:
            samples: (n,) sample numbers.
            spins_NYXC: (n, Y, X, 3) spins of these samples.
        """
        return energies_at(self.points, samples, spins_NYXC)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the lattice."""
        return self.layout.size

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """The variables that the shards store, by name."""
        return variables_of(self.points, self.derived)

    @cached_property
    def derived(self) -> Derived:
        """The stored variables that are computed from the spins."""
        return build(Derived, self.job.get("derived", {}), str(self.path / ledger.JOB))

    def only(self, record: ShardRecord) -> Catalog:
        """A catalog of a single shard that shares the job and the values read from it."""
        shard = Catalog(self.path, (record,))
        shared = ("job", "layout", "points", "derived", "variables")
        shard.__dict__.update({name: getattr(self, name) for name in shared})
        return shard

    def column(self, name: str) -> npt.NDArray[Any]:
        """The values of a per-sample variable such as "sample", "energy" or "split", over all shards.

        Args:
            name: a variable with one value or vector per sample.

        Returns:
            (samples,) or, for vectors, (samples, 3).

        Raises:
            InputError: the variable doesn't exist or is on the lattice, or a shard can't be used.
            MachineError: the system fails to read a shard.
        """
        return self.columns(name)[name]

    def columns(self, *names: str) -> dict[str, npt.NDArray[Any]]:
        """The values of several per-sample variables by name; each shard is opened once.

        Args:
            names: variables with one value or vector per sample.

        Returns:
            arrays by name, (samples,) or, for vectors, (samples, 3).

        Raises:
            InputError: a variable doesn't exist or is on the lattice, or a shard can't be used.
            MachineError: the system fails to read a shard.
        """
        for name in names:
            if self._variable(name).on_lattice:
                raise InputError("variable", f"{name!r} is a field on the lattice", f"call reader(variable={name!r})")
        types = {name: np.dtype(self.variables[name].dtype).newbyteorder("<") for name in names}
        widths = {name: len(COMPONENTS) if "component" in self.variables[name].dimensions else 1 for name in names}
        parts: dict[str, list[bytes]] = {name: [] for name in names}
        for record in self.records:
            path = self.path / record.file
            # Unbuffered, because only a few bytes are read at each place.
            with reading(path), path.open("rb", buffering=0) as stream:
                for name in names:
                    size = record.count * widths[name] * types[name].itemsize
                    parts[name].append(os.pread(stream.fileno(), size, self._place(record, name, size)))
        values = {name: np.frombuffer(b"".join(parts[name]), types[name]) for name in names}
        native = {name: array.astype(types[name].newbyteorder("=")) for name, array in values.items()}
        return {name: array.reshape(-1, widths[name]) if widths[name] > 1 else array for name, array in native.items()}

    def _place(self, record: ShardRecord, name: str, size: int) -> int:
        """Offset of a variable's values in a shard, bytes.

        Args:
            record: the record of the shard.
            name: the variable.
            size: number of bytes to read there.

        Raises:
            InputError: the ledger gives no offset, or one that leaves less than `size` bytes.
        """
        if name not in record.offsets or record.offsets[name] + size > record.bytes:
            problem = f"the ledger has no valid offset of {name!r} in this file"
            raise InputError(
                str(self.path / record.file), problem, f"check the dataset with {command('verify', self.path)}"
            )
        return record.offsets[name]

    @cached_property
    def samples(self) -> npt.NDArray[np.int64]:
        """The sample numbers according to the ledger, (samples,), ascending."""
        ranges = [np.arange(record.first_sample, record.first_sample + record.count) for record in self.records]
        return np.concatenate([np.empty(0, np.int64), *ranges])

    def reader(self, split: Split | None = None, variable: str = "spins") -> SpinReader:
        """A reader of the spins, or of another stored variable on the lattice.

        Args:
            split: the split to read; None reads all samples.
            variable: name of the variable.

        Raises:
            InputError: the split is unknown or empty, the variable is unknown or has one value per sample, or a shard
                can't be used.
            MachineError: the system fails to read a shard.
        """
        stored = self._variable(variable)
        if not stored.on_lattice:
            raise InputError("variable", f"{variable!r} has one value per sample", f"call column({variable!r})")
        positions = np.arange(self.samples_done)
        if split is not None:
            if split not in SPLITS:
                raise InputError("split", f"{shown(split)} is not a split", suggestion(str(split), SPLITS))
            positions = np.flatnonzero(self.column("split") == SPLITS.index(split))
            if not len(positions):
                raise InputError(
                    str(self.path), f"the split {split!r} is empty", "generate a dataset with a larger [splits] table"
                )
        return SpinReader(self, positions, stored)

    def _variable(self, name: str) -> Variable:
        if name not in self.variables:
            raise InputError("variable", f"{shown(name)} is not in the dataset", suggestion(str(name), self.variables))
        return self.variables[name]


class SpinReader:
    """Random access to the spins of a dataset through memory maps, for training, evaluation and `open_dataset`.

    A reader can also be of another variable on the lattice; "spins" below then means that variable.

    Attributes:
        samples: (n,) int64 sample numbers; each addresses the random stream of its sample.
        shape: rows and columns of the lattice, counted in coarse pixels for a coarse variable.
    """

    def __init__(self, catalog: Catalog, positions: npt.NDArray[np.int64], variable: Variable) -> None:
        self._catalog, self._variable = catalog, variable
        counts = [record.count for record in catalog.records]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self._shard = np.searchsorted(starts, positions, side="right") - 1
        self._row = positions - starts[self._shard]
        self._maps: dict[int, npt.NDArray[np.float32]] = {}
        self.samples: npt.NDArray[np.int64] = catalog.samples[positions]
        _, rows, columns, _ = variable.shape(1, catalog.shape)
        self.shape = (rows, columns)

    @property
    def hamiltonian(self) -> Hamiltonian:
        """The Hamiltonian that all samples share.

        Raises:
            InputError: the samples have more than one Hamiltonian.
        """
        return self._catalog.hamiltonian

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the shards' value digests; it does not depend on the dataset's location."""
        values = "".join(record.values_sha256 for record in self._catalog.records)
        return hashlib.sha256(values.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.samples)

    def __getstate__(self) -> dict[str, Any]:
        # Pickling a memory map would copy its content.
        return self.__dict__ | {"_maps": {}}

    def read(self, positions: npt.ArrayLike, window: tuple[Any, ...] = ()) -> npt.NDArray[np.float32]:
        """Read the spins of the samples at `positions`, (n, Y, X, 3) float32, in the given order.

        Args:
            positions: (n,) integers below len(self); negative ones count from the end.
            window: an index into (Y, X, C), to read only a part of the lattice.

        Raises:
            InputError: the positions are not integers or are out of range, or a shard can't be used.
            MachineError: the system fails to read a shard.
        """
        wanted = _positions(positions, len(self))
        shards, rows = self._shard[wanted], self._row[wanted]
        spins_NYXC: npt.NDArray[np.float32] | None = None
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            part = self._part(int(shard), rows[here], window)
            if spins_NYXC is None:
                spins_NYXC = np.empty((len(wanted), *part.shape[1:]), np.float32)
            spins_NYXC[here] = part
        if spins_NYXC is None:
            return np.empty((0, *self.shape, 3), np.float32)[:, *window]
        return spins_NYXC

    def whole(self) -> npt.NDArray[np.float32]:
        """Read all spins, (n, Y, X, 3); the result is a memory map if they are one whole uncompressed shard.

        Raises:
            InputError: a shard can't be used.
            MachineError: the system fails to read a shard.
        """
        one = len(self._catalog.records) == 1 and len(self) == self._catalog.samples_done
        if one and self._variable.name in self._catalog.records[0].offsets:
            return self._map(0)
        return self.read(np.arange(len(self)))

    def _part(self, shard: int, rows: npt.NDArray[np.int64], window: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        record = self._catalog.records[shard]
        if self._variable.name not in record.offsets:
            return read_rows(self._catalog.path / record.file, self._variable.name, rows, window)
        return self._map(shard)[:, *window][rows]

    def _map(self, shard: int) -> npt.NDArray[np.float32]:
        if shard not in self._maps:
            record = self._catalog.records[shard]
            shape = record.count, *self.shape, 3
            offset = self._catalog._place(record, self._variable.name, 4 * math.prod(shape))
            path = self._catalog.path / record.file
            with reading(path):
                self._maps[shard] = np.memmap(path, dtype="<f4", mode="r", offset=offset, shape=shape)
        return self._maps[shard]


def _positions(values: npt.ArrayLike, samples: int) -> npt.NDArray[np.int64]:
    found = series_of_integers("positions", values)
    if found.size and not (-samples <= found.min() and found.max() < samples):
        outside = found[(found < -samples) | (found >= samples)]
        raise InputError("positions", f"{outside[0]} is out of range", f"give integers below {samples}")
    return found


def _has_size(path: Path, size: int) -> bool:
    try:
        with reading(path) as found:
            return found.st_size == size
    except InputError:
        return False
