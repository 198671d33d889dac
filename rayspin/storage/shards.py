"""Shards: NetCDF-4 files that hold a run of samples, written whole, read back before they count.

A shard is plain NetCDF-4, uncompressed and contiguous, so that every reader opens it and its values can be
memory-mapped where they lie in the file. Nothing in it depends on the time, the host or the process: the same
samples give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import numpy.typing as npt

from rayspin.errors import InputError
from rayspin.rundir import replacing
from rayspin.storage.schema import COMPONENTS, VARIABLES


@dataclass(frozen=True)
class ShardRecord:
    """What the ledger says of a finished shard."""

    file: str
    first_sample: int
    count: int
    bytes: int
    sha256: str
    """Digest of the file."""
    values_sha256: str
    """Digest of the raw values of all variables: the same whatever library versions wrote the file."""
    offsets: dict[str, int]
    """Where the values of each variable start in the file, in bytes."""


def shard_name(first_sample: int) -> str:
    """The file name of the shard that starts with this sample."""
    return f"shard-{first_sample:08d}.nc"


def write_shard(
    path: Path, values: Mapping[str, npt.NDArray[np.generic]], attributes: Mapping[str, str]
) -> ShardRecord:
    """Write a shard at `path`, atomically, and return what was read back from it.

    Args:
        path: its final place; the folder exists.
        values: an array for every variable of `schema.VARIABLES`, samples along the first axis.
        attributes: global attributes: where the data comes from, in full.
    """
    with replacing(path) as temporary:
        with netCDF4.Dataset(temporary, "w", format="NETCDF4") as file:
            _fill(file, values)
            file.setncatts({"Conventions": "CF-1.11", **attributes, "values_sha256": _digest(values)})
        record = inspect_shard(temporary, attributes)
    return replace(record, file=path.name)


def inspect_shard(path: Path, attributes: Mapping[str, str] | None = None) -> ShardRecord:
    """The record of the shard at `path`, made from the file alone; every value is read.

    Args:
        path: the file.
        attributes: global attributes that it must carry.

    Raises:
        InputError: it is no whole shard, its values are not those it was written with, or it is of another origin.
    """
    try:
        values, there = read_shard(path)
        with h5py.File(path) as file:
            offsets = {name: _offset(file[name]) for name in VARIABLES}
    except (OSError, KeyError) as error:
        raise InputError(str(path), f"no whole shard ({error})", "make it again: delete it and run the job") from None
    digest = _digest(values)
    if not {**(attributes or {}), "values_sha256": digest}.items() <= there.items():
        problem = "its values are not those it was written with, or another job wrote it"
        raise InputError(str(path), problem, "make it again: delete it and run the job")
    return ShardRecord(
        file=path.name,
        first_sample=int(values["sample"][0]),
        count=len(values["sample"]),
        bytes=path.stat().st_size,
        sha256=file_digest(path),
        values_sha256=digest,
        offsets=offsets,
    )


def read_shard(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Values by variable and global attributes of the shard at `path`, unchecked."""
    with h5py.File(path) as file:
        values = {name: file[name][...] for name in VARIABLES}
        attributes = {name: _text(value) for name, value in file.attrs.items() if not name.startswith("_")}
    return values, attributes


def file_digest(path: Path) -> str:
    """SHA-256 of the file at `path`, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fill(file: netCDF4.Dataset, values: Mapping[str, npt.NDArray[np.generic]]) -> None:
    count, rows, columns, components = values["spins"].shape
    sizes = {"sample": count, "y": rows, "x": columns, "component": components}
    for name, size in sizes.items():
        file.createDimension(name, size)
    names = file.createVariable("component", str, ("component",))
    names.setncatts({"long_name": "Cartesian component of a vector"})
    names[:] = np.array(COMPONENTS, dtype=object)
    for variable in VARIABLES.values():
        # Contiguous and without fill values: the bytes in the file are the bytes of the array.
        stored = file.createVariable(
            variable.name,
            variable.dtype,
            variable.dimensions,
            contiguous=True,
            fill_value=False,
            endian="little",
        )
        stored.set_auto_maskandscale(False)
        stored.setncatts({"units": variable.units, "long_name": variable.long_name, **variable.attributes})
        stored[...] = values[variable.name].astype(variable.dtype, copy=False)


def _offset(dataset: h5py.Dataset) -> int:
    offset = dataset.id.get_offset()
    if offset is None:
        raise KeyError(f"{dataset.name} is not contiguous")
    return int(offset)


def _text(attribute: bytes | str) -> str:
    return attribute.decode() if isinstance(attribute, bytes) else attribute


def _digest(values: Mapping[str, npt.NDArray[np.generic]]) -> str:
    digest = hashlib.sha256()
    for variable in VARIABLES.values():
        raw = np.ascontiguousarray(values[variable.name], dtype=np.dtype(variable.dtype).newbyteorder("<"))
        digest.update(raw.data)
    return digest.hexdigest()
