"""The catalog of a dataset folder: which shards are done, by its ledger; and the samples in them, memory-mapped.

A dataset is a folder: shards (`shard-*.nc`), a ledger (one record a line, appended and synced after a shard is in
place; see `rayspin.storage.ledger`) and the resolved job (`job.toml`). Readers take the shards of the ledger only.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
    """What to do about missing samples of the dataset at `path`."""
    return f"make them with {command('repair', path)}"


_SHOWN_GAPS = 3


@dataclass(frozen=True)
class Catalog:
    """The done shards of a dataset folder, in the order of their samples."""

    path: Path
    records: tuple[ShardRecord, ...]

    @classmethod
    def entered(cls, path: str | Path) -> Catalog:
        """All that the ledger of the dataset at `path` ever took in, whether the files are there or not.

        Lines that are not what was written, as a kill may leave the last one, are passed over.
        """
        path = Path(path)
        names = ShardRecord.__dataclass_fields__
        by_first = {
            entry["first_sample"]: ShardRecord(**{name: entry[name] for name in names})
            for entry in ledger.entries(path)
        }
        return cls(path, tuple(by_first[first] for first in sorted(by_first)))

    @classmethod
    def history(cls, path: str | Path) -> list[dict[str, Any]]:
        """Every entry of the ledger in the order of entry: records with who made them, when and how fast."""
        return list(ledger.entries(Path(path)))

    @classmethod
    def read(cls, path: str | Path) -> Catalog:
        """The catalog of the dataset at `path`: shards whose file is there with the recorded size; empty at first."""
        catalog = cls.entered(path)
        whole = (record for record in catalog.records if _has_size(catalog.path / record.file, record.bytes))
        return cls(catalog.path, tuple(whole))

    @classmethod
    def open(cls, path: str | Path, *, incomplete: bool = False) -> Catalog:
        """The catalog of a dataset that is there to be read.

        Args:
            path: the folder.
            incomplete: take what is there of a dataset that lacks samples.

        Raises:
            InputError: no dataset, none of its shards is done, or some of its samples are missing.
        """
        if not ledger.begun(Path(path)):
            raise InputError(str(path), "no dataset (it has no ledger)", "give the folder that a generate job wrote")
        catalog = cls.read(path)
        if not catalog.records:
            raise InputError(str(path), "none of its shards is done", "run its job first")
        if catalog.lacking and not incomplete:
            raise InputError(
                str(path), catalog.lacking, f"{mending(Path(path))}, or take what is there with incomplete = true"
            )
        return catalog

    def append(
        self, record: ShardRecord, to: str = ledger.LEDGER, *, after: Sequence[ledger.Entry] = (), **facts: str | float
    ) -> None:
        """Add a finished shard to a ledger, durably; the time and `facts` (who, how long) are kept beside it.

        Args:
            record: the shard.
            to: name of the ledger: a task of an array has one of its own.
            after: entries that go before it, in one go.
            facts: what else to say.
        """
        ledger.append(self.path / to, *after, {**asdict(record), "job": self._job_mark, **facts})

    def orphan(self, first_sample: int, count: int, attributes: Mapping[str, str]) -> ShardRecord | None:
        """The record of a shard that is in place but was not entered when the run was killed, else None.

        It counts only if it is whole, holds these samples and was written with these attributes.
        """
        try:
            record = inspect_shard(self.path / shard_name(first_sample), attributes)
        except InputError:
            return None
        return record if (record.first_sample, record.count) == (first_sample, count) else None

    @property
    def samples_done(self) -> int:
        """How many samples the done shards hold."""
        return sum(record.count for record in self.records)

    @cached_property
    def lacking(self) -> str:
        """Which of the samples that its job asks for are in none of its shards, for people; empty if all are there."""
        # A shard lies in one piece between those that are there: as large as all samples, for no cut to show.
        gaps = self.missing(self.layout.samples, self.layout.samples)
        if not gaps:
            return ""
        named = ", ".join(f"{first} to {first + count - 1}" for first, count in gaps[:_SHOWN_GAPS])
        more = f" and {len(gaps) - _SHOWN_GAPS} more gaps" if len(gaps) > _SHOWN_GAPS else ""
        lost = sum(count for _, count in gaps)
        return f"{lost} of {self.layout.samples} samples are missing ({named}{more})"

    @property
    def bytes(self) -> int:
        """The size of the done shards."""
        return sum(record.bytes for record in self.records)

    def missing(self, samples: int, shard_samples: int) -> list[tuple[int, int]]:
        """The shards still to make, (first sample, count), cut at multiples of `shard_samples`."""
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
    def _job_mark(self) -> str:
        return ledger.checksum(ledger.read_job(self.path) or "")

    @cached_property
    def job(self) -> dict[str, Any]:
        """The resolved job that the dataset was made by; by the ledger if the file of the job is gone or has changed.

        Raises:
            InputError: neither can be read.
        """
        where, remedy = str(self.path / ledger.JOB), "put back the job that the dataset was made by"
        return parse_toml(ledger.job_text(self.path) or "", where, remedy)

    @cached_property
    def layout(self) -> Layout:
        """The numbers of its job.

        Raises:
            InputError: the job is none of a dataset.
        """
        return build(Layout, self.job, str(self.path / ledger.JOB))

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """The Hamiltonians and schedules that the samples take turns in; one, unless the job has variants or a grid."""
        return points_of(self.job, str(self.path / ledger.JOB))

    @property
    def point_numbers(self) -> npt.NDArray[np.int32]:
        """The point of each sample, in order."""
        return point_numbers(self.samples, self.points)

    @cached_property
    def hamiltonian(self) -> Hamiltonian:
        """The Hamiltonian of all samples.

        Raises:
            InputError: they have several.
        """
        hamiltonians = {point.hamiltonian for point in self.points}
        if len(hamiltonians) > 1:
            raise InputError(
                str(self.path),
                f"its samples have {len(hamiltonians)} Hamiltonians",
                "give a dataset of one Hamiltonian",
            )
        return self.points[0].hamiltonian

    def energies(self, samples: npt.NDArray[np.int64], spins_NYXC: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Energy per site of these samples' spins, each under its own Hamiltonian, J, (n,)."""
        return energies_at(self.points, samples, spins_NYXC)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the lattice."""
        return self.layout.size

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """What the shards hold, by name."""
        return variables_of(self.points, self.derived)

    @cached_property
    def derived(self) -> Derived:
        """What the shards hold that follows from the spins."""
        return build(Derived, self.job.get("derived", {}), str(self.path / ledger.JOB))

    def only(self, record: ShardRecord) -> Catalog:
        """The catalog of one shard; what was read of the job is shared."""
        shard = Catalog(self.path, (record,))
        shared = ("job", "layout", "points", "derived", "variables")
        shard.__dict__.update({name: getattr(self, name) for name in shared})
        return shard

    def column(self, name: str) -> npt.NDArray[Any]:
        """A variable with one value (or vector) a sample, over all shards in order: "sample", "energy", "split"."""
        return self.columns(name)[name]

    def columns(self, *names: str) -> dict[str, npt.NDArray[Any]]:
        """Several of them; each shard is opened once.

        Raises:
            InputError: there is no such variable, or it lies on the lattice; likewise from `column`.
        """
        for name in names:
            if self._variable(name).on_lattice:
                raise InputError("variable", f"{name!r} has vectors on the lattice", f"call reader(variable={name!r})")
        types = {name: np.dtype(self.variables[name].dtype).newbyteorder("<") for name in names}
        widths = {name: len(COMPONENTS) if "component" in self.variables[name].dimensions else 1 for name in names}
        parts: dict[str, list[bytes]] = {name: [] for name in names}
        for record in self.records:
            path = self.path / record.file
            # Unbuffered: of a page that is read ahead, only a few bytes are asked for.
            with reading(path), path.open("rb", buffering=0) as stream:
                for name in names:
                    size = record.count * widths[name] * types[name].itemsize
                    parts[name].append(os.pread(stream.fileno(), size, self._place(record, name, size)))
        values = {name: np.frombuffer(b"".join(parts[name]), types[name]) for name in names}
        native = {name: array.astype(types[name].newbyteorder("=")) for name, array in values.items()}
        return {name: array.reshape(-1, widths[name]) if widths[name] > 1 else array for name, array in native.items()}

    def _place(self, record: ShardRecord, name: str, size: int) -> int:
        """Where the values of a variable start in a shard, for so many bytes of them.

        Raises:
            InputError: the ledger names no place for them in the file.
        """
        if name not in record.offsets or record.offsets[name] + size > record.bytes:
            problem = f"the ledger names no place for {name!r} in it"
            raise InputError(
                str(self.path / record.file), problem, f"{command('verify', self.path)} says what is wrong"
            )
        return record.offsets[name]

    @cached_property
    def samples(self) -> npt.NDArray[np.int64]:
        """The number of each sample, in order, by the ledger."""
        ranges = [np.arange(record.first_sample, record.first_sample + record.count) for record in self.records]
        return np.concatenate([np.empty(0, np.int64), *ranges])

    def reader(self, split: Split | None = None, variable: str = "spins") -> SpinReader:
        """The samples of one split, or all of them: their spins, or another variable that is stored on the lattice.

        Raises:
            InputError: the split is empty, or there is no such split, or no such variable on the lattice.
        """
        stored = self._variable(variable)
        if not stored.on_lattice:
            raise InputError("variable", f"{variable!r} has one value a sample", f"call column({variable!r})")
        positions = np.arange(self.samples_done)
        if split is not None:
            if split not in SPLITS:
                raise InputError("split", f"{shown(split)} is none", suggestion(str(split), SPLITS))
            positions = np.flatnonzero(self.column("split") == SPLITS.index(split))
            if not len(positions):
                raise InputError(
                    str(self.path), f"no sample is in the split {split!r}", "generate with larger [splits]"
                )
        return SpinReader(self, positions, stored)

    def _variable(self, name: str) -> Variable:
        if name not in self.variables:
            raise InputError(
                "variable", f"{shown(name)} is none of the dataset's", suggestion(str(name), self.variables)
            )
        return self.variables[name]


class SpinReader:
    """Spins by position, read through memory maps: what training, evaluation and `open_dataset` read from.

    Other variables on the lattice are read likewise, and "spins" stands for them below.

    Attributes:
        samples: (n,) int64 sample numbers, the address of each sample's random stream.
        shape: rows and columns of the lattice, coarse ones of a coarse version.
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
        """The Hamiltonian of the samples.

        Raises:
            InputError: they have several.
        """
        return self._catalog.hamiltonian

    @property
    def digest(self) -> str:
        """SHA-256 of the digests of all values of the dataset, in hexadecimal: the same wherever it lies."""
        values = "".join(record.values_sha256 for record in self._catalog.records)
        return hashlib.sha256(values.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.samples)

    def __getstate__(self) -> dict[str, Any]:
        # Memory maps would be pickled as their content.
        return self.__dict__ | {"_maps": {}}

    def read(self, positions: npt.ArrayLike, window: tuple[Any, ...] = ()) -> npt.NDArray[np.float32]:
        """Spins of the samples at `positions`, (n, Y, X, 3) float32, in the order asked for.

        Args:
            positions: (n,) integers below len(self); those below 0 count from the end.
            window: an index into (Y, X, C), to read parts of the lattice only.

        Raises:
            InputError: positions that are no such integers.
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
        """All spins, (n, Y, X, 3); those of a single uncompressed shard without a copy."""
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
        raise InputError("positions", f"{outside[0]} is out of range", f"give numbers below {samples}")
    return found


def _has_size(path: Path, size: int) -> bool:
    try:
        with reading(path) as found:
            return found.st_size == size
    except InputError:
        return False
