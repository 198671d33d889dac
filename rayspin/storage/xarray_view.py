"""One lazy xarray view over all shards of a dataset."""

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
    """The dataset in the folder `path`, over all its shards; spins are read when they are asked for.

    Args:
        path: the folder.
        field: also with the effective field, computed when it is asked for, or read where it is stored.
        coarse: a scale or several; also with a coarse version for each, likewise.
        degradation: how fine spins become coarse ones; None: as in the job, where that stores them, else as published.
        strict: refuse a dataset that lacks some of the samples of its job, because shards are gone or were not made
            yet; by default it is opened as it is, with a `UserWarning` that says what is missing.

    Returns:
        spins (sample, y, x, component) float32, unit vectors; field (the same) float32, in J; coarse4 (sample, y4, x4,
        component) float32; what the shards store of these is always there.
        Coordinates: along sample its number, energy (float64, per site, in J), seed and split ("train", "validation" or
        "test"), and what differs between the samples of a grid: point (its number), dmi, external_field, ...; along
        component "x", "y", "z".
        Attributes: the resolved job, flat (`hamiltonian.dmi`, `schedule.sweeps`, ...).

    Raises:
        InputError: no dataset there, none of its shards is done, or it has no such coarse version; with `strict`, some
            of its samples are missing.
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
        raise InputError(str(path), "has samples of no known split", f"{command('verify', path)} says in which shards")
    return np.array(SPLITS)[codes]


def _parameters(catalog: Catalog, samples: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Coordinates for what differs between samples; texts as they are written in a job."""
    numbers = point_numbers(samples, catalog.points)
    coordinates = {}
    for name, (variable, values) in parameters_of(catalog.points).items():
        if "flag_meanings" in variable.attributes:
            values = np.array(str(variable.attributes["flag_meanings"]).split())[values]
        coordinates[name] = (variable.dimensions, values[numbers], _attributes(variable))
    return coordinates


class _Source(Protocol):
    """What a lazy array reads from: `SpinReader`, or the like of it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def __len__(self) -> int:
        """How many samples there are."""

    def read(self, positions: npt.NDArray[np.int64], window: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        """Vectors of the samples at `positions`, in a window of (Y, X, C)."""


class _Computed:
    """A variable that is computed from the spins of the samples that are asked for."""

    def __init__(self, catalog: Catalog, derived: Derived, name: str) -> None:
        self._reader, self._points = catalog.reader(), catalog.points
        self._derived, self._name = derived, name
        _, rows, columns, _ = derived.variables[name].shape(1, catalog.shape)
        self.shape = (rows, columns)

    def __len__(self) -> int:
        return len(self._reader)

    def read(self, positions: npt.NDArray[np.int64], window: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        """As a `SpinReader` reads it; a few samples at a time, since what lies between needs more room."""
        parts = np.array_split(positions, max(1, len(positions) // _COMPUTED_AT_ONCE))
        return np.concatenate([self._compute(part)[:, *window] for part in parts])

    def _compute(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        spins_NYXC = self._reader.read(positions)
        return self._derived.compute(self._name, self._points, self._reader.samples[positions], spins_NYXC)


class _Lazy(BackendArray):
    """The adapter that xarray indexes."""

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
    """Nested tables as one level with dotted keys, as NetCDF attributes must be; lists of lists as JSON."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            nested = isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
            flat[f"{prefix}{key}"] = json.dumps(value) if nested else value
    return flat
