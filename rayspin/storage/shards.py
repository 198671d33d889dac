"""Shards: NetCDF-4 files of consecutive samples, written atomically and read back for verification.

A shard is a standard NetCDF-4 file. By default its variables are uncompressed and contiguous, so that they can be
memory-mapped. Its content doesn't depend on the time, the host or the process: the same samples give the same bytes.
With compression the bytes also depend on the version of the compression library; the digest of the raw values doesn't.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic

from rayspin.errors import InputError, MachineError
from rayspin.paths import command
from rayspin.rundir import Natural, replacing
from rayspin.storage.hdf5 import h5py, netCDF4, opened, reading
from rayspin.storage.schema import COMPONENTS, VARIABLES, Storage, Variable

_PLAIN = Storage()
_NONE: Mapping[str, str] = {}
_DERIVED, _PARAMETERS, _DIGEST = "derived_variables", "parameters", "values_sha256"

METADATA_BYTES = 64 * 1024
"""Space to reserve for the metadata of a shard: about 6 KiB and the attributes."""


@dataclass(frozen=True)
class ShardRecord:
    """The record of a finished shard in the ledger."""

    file: str
    """File name."""
    first_sample: Natural
    """Number of the first sample."""
    count: Natural
    """Number of samples."""
    bytes: Natural
    """Size of the file, bytes."""
    sha256: str
    """Digest of the file."""
    values_sha256: str
    """Digest of the raw values of all variables; independent of the library versions that wrote the file."""
    offsets: dict[str, Natural]
    """Offset of each variable's values in the file, bytes; compressed variables have none."""

    @classmethod
    def is_in(cls, entry: Mapping[str, object]) -> bool:
        """Whether a ledger entry holds a record with valid types and the file name that fits its first sample."""
        try:
            record = _RECORDS.validate_python({name: entry[name] for name in cls.__dataclass_fields__})
        except (KeyError, pydantic.ValidationError):
            return False
        # A sample takes at least one byte.
        return record.file == shard_name(record.first_sample) and 0 < record.count <= record.bytes


_RECORDS = pydantic.TypeAdapter(ShardRecord)


def shard_name(first_sample: int) -> str:
    """The file name of the shard whose first sample is `first_sample`."""
    return f"shard-{first_sample:08d}.nc"


class ShardWriter:
    """A writer of shards that share their attributes and variables.

    Args:
        attributes: global attributes of each shard, which record the full provenance of the data.
        variables: the variables to store: those of `schema.VARIABLES` first, then those derived from the spins and the
            parameters that vary between samples.
        storage: how to store variables on the lattice.
    """

    def __init__(
        self,
        attributes: Mapping[str, str],
        variables: Mapping[str, Variable] = VARIABLES,
        storage: Storage = _PLAIN,
    ) -> None:
        more = [variable for variable in variables.values() if variable.name not in VARIABLES]
        names = {
            _DERIVED: " ".join(variable.name for variable in more if variable.on_lattice),
            _PARAMETERS: " ".join(variable.name for variable in more if not variable.on_lattice),
        }
        self._attributes = {**attributes, **{kind: text for kind, text in names.items() if text}}
        self._variables, self._storage = variables, storage

    def write(self, path: str | Path, values: Mapping[str, npt.NDArray[np.generic]]) -> ShardRecord:
        """Write a shard atomically, read it back, and return its record.

        Args:
            path: the file to write; its folder must exist.
            values: an array for each variable, with samples along the first axis.

        Raises:
            InputError: an array is missing, or the arrays differ in their numbers of samples.
            MachineError: the system refuses to write, or the values read back differ. HDF5 may keep the failed file
                open, so that a retry in the same process may fail even after space has been freed.
        """
        path = Path(path)
        lengths = {name: len(values[name]) for name in self._variables if name in values}
        if lengths.keys() != self._variables.keys() or len(set(lengths.values())) != 1:
            problem = f"have {lengths} samples; the variables are {', '.join(self._variables)}"
            raise InputError("values", problem, "give one array for each variable, all with the same samples")
        values = {
            name: np.ascontiguousarray(values[name], np.dtype(of.dtype).newbyteorder("<"))
            for name, of in self._variables.items()
        }
        digest = _digest(values)
        with replacing(path) as temporary:
            marks = {"Conventions": "CF-1.11", **self._attributes, _DIGEST: digest}
            _write(temporary, values, marks, self._variables, self._storage)
            try:
                record = inspect_shard(temporary, marks, values)
            except InputError:
                raise _misread(path) from None
        return replace(record, file=path.name)


def inspect_shard(
    path: str | Path,
    attributes: Mapping[str, str] = _NONE,
    written: Mapping[str, npt.NDArray[np.generic]] | None = None,
) -> ShardRecord:
    """Read a shard in full and return its record, computed from the file alone.

    Args:
        path: the shard.
        attributes: global attributes that it must carry.
        written: the values just written to it, whose digest is in `attributes`; comparing them is faster than computing
            the digest of the file's values.

    Raises:
        InputError: the file is not a complete shard, its values don't match their digest, or an attribute differs.
        MachineError: the system fails to read the file.
    """
    path = Path(path)
    with reading(path):
        content = path.read_bytes()
        with opened(path) as file:
            there = _attributes(file)
            stored = {name: file[name] for name in _names(there)}
            offsets = {name: offset for name, of in stored.items() if (offset := _offset(of)) is not None}
            # Contiguous values are checked where memory maps will read them; others are read with h5py.
            values = {
                name: _mapped(content, of, offsets[name]) if name in offsets else of[...] for name, of in stored.items()
            }
        digest = attributes[_DIGEST] if written is not None and _same(values, written) else _digest(values)
        if not {**attributes, _DIGEST: digest}.items() <= there.items():
            problem = "its values don't match their digest, or another job wrote it"
            raise InputError(
                str(path), problem, f"find the shards that need rayspin repair with {command('verify', path.parent)}"
            )
        return ShardRecord(
            file=path.name,
            first_sample=int(values["sample"][0]),
            count=len(values["sample"]),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            values_sha256=digest,
            offsets=offsets,
        )


def read_shard(path: str | Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Read the values by variable and the global attributes of a shard, without verification.

    Args:
        path: the shard.

    Raises:
        InputError: the file is not a complete shard.
        MachineError: the system fails to read the file.
    """
    with opened(Path(path)) as file:
        attributes = _attributes(file)
        values = {name: file[name][...] for name in _names(attributes)}
    return values, attributes


def read_contents(path: Path) -> tuple[frozenset[str], dict[str, str]]:
    """Read the names of the variables and the global attributes of a NetCDF-4 file, which may be no shard.

    Args:
        path: the file.

    Raises:
        InputError: the file is not a complete NetCDF-4 file.
        MachineError: the system fails to read the file.
    """
    with opened(path) as file:
        return frozenset(file), _attributes(file)


def read_variables(path: Path, *names: str) -> list[npt.NDArray[Any]]:
    """Read variables of a NetCDF-4 file, which may be no shard.

    Args:
        path: the file.
        names: names of the variables.

    Raises:
        InputError: the file is not a complete NetCDF-4 file, or doesn't have these variables.
        MachineError: the system fails to read the file.
    """
    with opened(path) as file:
        return [file[name][...] for name in names]


def read_header(path: Path) -> tuple[dict[str, tuple[tuple[int, ...], str]], dict[str, str]]:
    """Read the shape and the type (such as "f4") of each variable, and the global attributes, of the shard at `path`.

    Args:
        path: the shard.

    Raises:
        InputError: the file is not a complete shard.
        MachineError: the system fails to read the file.
    """
    with opened(path) as file:
        attributes = _attributes(file)
        return {name: (file[name].shape, file[name].dtype.str[1:]) for name in _names(attributes)}, attributes


def file_digest(path: Path) -> str:
    """SHA-256 of the file at `path`, in hexadecimal.

    Args:
        path: the shard.

    Raises:
        InputError: the file is missing or is not a regular file.
        MachineError: the system fails to read the file.
    """
    with reading(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_rows(
    path: Path, name: str, rows: npt.NDArray[np.int64], window: tuple[Any, ...] = ()
) -> npt.NDArray[np.float32]:
    """Read selected samples of a variable of a shard with h5py, (n, Y, X, 3); needed for compressed variables.

    Args:
        path: the shard.
        name: a variable on the lattice.
        rows: (n,) positions of the samples in the shard, in any order.
        window: an index into (Y, X, C).

    Raises:
        InputError: the file is not a complete shard.
        MachineError: the system fails to read the file.
    """
    with opened(path) as file:
        stored = file[name]
        return np.stack([stored[int(row)][window] for row in rows])


def _misread(path: Path) -> MachineError:
    problem = "a shard read back just after writing has different content"
    return MachineError(str(path.parent), problem, "check the file system, then run the same command again")


def _write(
    path: Path,
    values: Mapping[str, npt.NDArray[np.generic]],
    attributes: Mapping[str, str],
    variables: Mapping[str, Variable],
    storage: Storage,
) -> None:
    """Write the file of a shard; an OSError or a MachineError reports why it can't be written."""
    size = sum(array.nbytes for array in values.values()) + METADATA_BYTES
    _reserve(path, size)
    try:
        with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
            _fill(file, values, variables, storage)
            file.setncatts(attributes)
    except (RuntimeError, OSError) as error:
        # HDF5 often reports the wrong cause. Reserving the space again makes the system report the right one.
        _reserve(path, size)
        remedy = "check the file system; if it doesn't support file locks, set HDF5_USE_FILE_LOCKING=FALSE"
        raise MachineError(str(path.parent), f"HDF5 failed to write ({error})", remedy) from None


def _reserve(path: Path, size: int) -> None:
    """Raise an OSError if there is no space for a file of `size` bytes, or no permission to write it.

    HDF5 may crash the process if it runs out of space while writing. It truncates the file before it writes, which
    frees the reserved space, so another process may still take it; the worker then dies, and the next one fails here.
    """
    with path.open("wb") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise


def _fill(
    file: netCDF4.Dataset,
    values: Mapping[str, npt.NDArray[np.generic]],
    variables: Mapping[str, Variable],
    storage: Storage,
) -> None:
    on_lattice = [variable for variable in variables.values() if variable.on_lattice]
    sizes = {name: size for of in on_lattice for name, size in zip(of.dimensions, values[of.name].shape)}
    for name, size in sizes.items():
        file.createDimension(name, size)
    names = file.createVariable("component", str, ("component",))
    names.setncatts({"long_name": "Cartesian component of a vector"})
    names[:] = np.array(COMPONENTS, dtype=object)
    coordinates = " ".join(of.name for of in variables.values() if of.name != "sample" and not of.on_lattice)
    # Contiguous and without fill values, the file holds exactly the bytes of the array.
    contiguous: dict[str, Any] = {"contiguous": True}
    compressed = {"compression": storage.compression, "complevel": storage.level, "shuffle": True}
    for variable in variables.values():
        shape = values[variable.name].shape
        is_compressed = variable.on_lattice and storage.compression != "none"
        stored = file.createVariable(
            variable.name,
            variable.dtype,
            variable.dimensions,
            fill_value=False,
            endian="little",
            **(compressed | {"chunksizes": (1, *shape[1:])} if is_compressed else contiguous),
        )
        stored.set_auto_maskandscale(False)
        stored.setncatts({"units": variable.units, "long_name": variable.long_name, **variable.attributes})
        if variable.on_lattice:
            stored.setncatts({"coordinates": coordinates})
        stored[...] = values[variable.name]


def _mapped(content: bytes, dataset: h5py.Dataset, offset: int) -> npt.NDArray[Any]:
    flat: npt.NDArray[Any] = np.frombuffer(content, dataset.dtype, dataset.size, offset)
    return flat.reshape(dataset.shape)


def _offset(dataset: h5py.Dataset) -> int | None:
    offset = dataset.id.get_offset()
    if offset is None and dataset.chunks is None:
        raise KeyError(f"{dataset.name} is not contiguous")
    return None if offset is None else int(offset)


def _attributes(file: h5py.File) -> dict[str, str]:
    return {name: _text(value) for name, value in file.attrs.items() if not name.startswith("_")}


def _names(attributes: Mapping[str, str]) -> tuple[str, ...]:
    return *VARIABLES, *attributes.get(_DERIVED, "").split(), *attributes.get(_PARAMETERS, "").split()


def _text(attribute: object) -> str:
    return attribute.decode(errors="replace") if isinstance(attribute, bytes) else str(attribute)


def _same(values: Mapping[str, npt.NDArray[Any]], others: Mapping[str, npt.NDArray[Any]]) -> bool:
    """Whether both have the same variables with bitwise equal values."""
    return values.keys() == others.keys() and all(
        np.array_equal(_bits(array), _bits(others[name])) for name, array in values.items()
    )


def _bits(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.view(f"u{array.itemsize}")


def _digest(values: Mapping[str, npt.NDArray[np.generic]]) -> str:
    digest = hashlib.sha256()
    for name, array in values.items():
        dtype = np.dtype(VARIABLES[name].dtype) if name in VARIABLES else array.dtype
        digest.update(np.ascontiguousarray(array, dtype=dtype.newbyteorder("<")).data)
    return digest.hexdigest()
