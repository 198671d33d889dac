"""A lazy xarray view of all shards of a dataset."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from rayspin.errors import InputError
from rayspin.paths import command
from rayspin.physics import Degradation
from rayspin.storage.catalog import Catalog, mending
from rayspin.storage.derived import Derived
from rayspin.storage.points import parameters_of, point_numbers
from rayspin.storage.schema import COMPONENTS, SPLITS, VARIABLES, Variable

_COMPUTED_AT_ONCE = 64


def open_dataset(
    path: str | Path,
    *,
    field: bool = False,
    coarse: int | Sequence[int] = (),
    degradation: Degradation | None = None,
    strict: bool = False,
) -> xr.Dataset:
    """Open a dataset folder as one lazy `xarray.Dataset`; spins are read from the shards on access.

    Args:
        path: the dataset folder.
        field: include the effective field, which is read if the shards store it and computed on access otherwise.
        coarse: one or several scales; include a coarse version of the spins for each, likewise read or computed.
        degradation: how coarse spins are computed from fine ones. By default the degradation of the dataset's job,
            which is the published one unless the job sets another.
        strict: raise an error if the dataset lacks samples that its job requests. By default an incomplete dataset is
            opened with a `UserWarning` that lists the missing samples.

    Returns:
        a dataset with the variables spins (sample, y, x, component), float32 unit vectors; field, of the same shape,
        float32, J; and for a scale of 4, coarse4 (sample, y4, x4, component), float32. Derived variables that the
        shards store are always included.
        Coordinates along sample are the sample number, energy (float64, per site, J), seed, split ("train",
        "validation" or "test") and the parameters that differ between samples: point (its index), dmi, external_field
        and so on. The coordinate along component is "x", "y", "z".
        Attributes hold the resolved job with dotted keys (`hamiltonian.dmi`, `schedule.sweeps`, ...).

    Raises:
        InputError: the folder is not a dataset, has no finished shard, doesn't allow the requested coarse version or,
            with `strict`, lacks samples.
        MachineError: the system fails to read a shard.
    """
    catalog = Catalog.open(Path(path), incomplete=not strict)
    if catalog.lacking:
        warnings.warn(f"{path}: {catalog.lacking}; {mending(Path(path))}", stacklevel=2)
    scales: Any = coarse if np.ndim(coarse) else (coarse,)
    asked = Derived(field=field, coarse=scales, degradation=degradation or catalog.derived.degradation)
    asked.check(catalog.shape, catalog.points)
    there = asked.within(catalog.derived).variables
    sources: dict[str, tuple[Variable, _Source]] = {
        name: (variable, catalog.reader(variable=name))
        for name, variable in catalog.variables.items()
        if variable.on_lattice
    } | {
        name: (variable, _Computed(catalog, asked, name))
        for name, variable in asked.variables.items()
        if name not in there
    }
    samples, columns = catalog.samples, catalog.columns("energy", "split")
    seeds = np.full(len(samples), catalog.layout.seed, np.int64)
    seed_attributes = {"units": "1", "long_name": "root seed; with the sample number it names the random stream"}
    return xr.Dataset(
        {
            name: (variable.dimensions, indexing.LazilyIndexedArray(_Lazy(source)), _attributes(variable))
            for name, (variable, source) in sources.items()
        },
        coords={
            "sample": (("sample",), samples, _attributes(VARIABLES["sample"])),
            "energy": (("sample",), columns["energy"], _attributes(VARIABLES["energy"])),
            "seed": (("sample",), seeds, seed_attributes),
            "split": (("sample",), _split_names(columns["split"], catalog.path)),
            "component": (("component",), list(COMPONENTS)),
            **_parameters(catalog, samples),
        },
        attrs=_flat(catalog.job),
    )


def _split_names(codes: npt.NDArray[np.int8], path: Path) -> npt.NDArray[np.str_]:
    """The split of each sample by name, (n,)."""
    if not ((codes >= 0) & (codes < len(SPLITS))).all():
        raise InputError(str(path), "has invalid split codes", f"find the faulty shards with {command('verify', path)}")
    return np.array(SPLITS)[codes]


def _parameters(catalog: Catalog, samples: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Coordinates for the parameters that differ between samples; flags are decoded to the text used in jobs."""
    numbers = point_numbers(samples, catalog.points)
    coordinates = {}
    for name, (variable, values) in parameters_of(catalog.points).items():
        if "flag_meanings" in variable.attributes:
            values = np.array(str(variable.attributes["flag_meanings"]).split())[values]
        coordinates[name] = (variable.dimensions, values[numbers], _attributes(variable))
    return coordinates


class _Source(Protocol):
    """The interface that lazy arrays read through: a `SpinReader` or a computed variable."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def __len__(self) -> int:
        """Number of samples."""

    def read(self, positions: npt.NDArray[np.int64], window: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        """Read the vectors of the samples at `positions`, in a window of (Y, X, C)."""


class _Computed:
    """A variable that is computed on access from the spins of the requested samples."""

    def __init__(self, catalog: Catalog, derived: Derived, name: str) -> None:
        self._reader, self._points = catalog.reader(), catalog.points
        self._derived, self._name = derived, name
        _, rows, columns, _ = derived.variables[name].shape(1, catalog.shape)
        self.shape = (rows, columns)

    def __len__(self) -> int:
        return len(self._reader)

    def read(self, positions: npt.NDArray[np.int64], window: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        """Compute the vectors in batches, which bounds the memory of intermediate results."""
        parts = np.array_split(positions, max(1, len(positions) // _COMPUTED_AT_ONCE))
        return np.concatenate([self._compute(part)[:, *window] for part in parts])

    def _compute(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        spins_NYXC = self._reader.read(positions)
        return self._derived.compute(self._name, self._points, self._reader.samples[positions], spins_NYXC)


class _Lazy(BackendArray):
    """The backend array that xarray indexes."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self.shape = (len(source), *source.shape, len(COMPONENTS))
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[np.float32]:
        result: npt.NDArray[np.float32] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read
        )
        return result

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        samples, *window = key
        positions = np.arange(len(self._source))[samples]
        vectors = self._source.read(np.atleast_1d(positions), tuple(window))
        return vectors if np.ndim(positions) else vectors[0]


def _attributes(variable: Variable) -> dict[str, str]:
    return {"units": variable.units, "long_name": variable.long_name}


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables to dotted keys, as NetCDF attributes require; nested lists become JSON."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            nested = isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
            flat[f"{prefix}{key}"] = json.dumps(value) if nested else value
    return flat
