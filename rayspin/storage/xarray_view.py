"""One lazy xarray view over all shards of a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from rayspin.storage.catalog import Catalog, SpinReader
from rayspin.storage.points import parameters_of, point_numbers
from rayspin.storage.schema import COMPONENTS, SPLITS, VARIABLES, Variable


def open_dataset(path: str | Path) -> xr.Dataset:
    """The dataset in the folder `path`, over all its shards; spins are read when they are asked for.

    Returns:
        spins (sample, y, x, component) float32, unit vectors.
        Coordinates: along sample its number, energy (float64, per site, in J), seed and split ("train", "validation" or
        "test"), and what differs between the samples of a grid: point (its number), dmi, external_field, ...; along
        component "x", "y", "z".
        Attributes: the resolved job, flat (`hamiltonian.dmi`, `schedule.sweeps`, ...).

    Raises:
        InputError: no dataset there, or none of its shards is done.
    """
    catalog = Catalog.open(Path(path))
    spins = indexing.LazilyIndexedArray(_LazySpins(catalog.reader()))
    samples, columns = catalog.samples, catalog.columns("energy", "split")
    seeds = np.full(len(samples), catalog.job["seed"], np.int64)
    seed_attributes = {"units": "1", "long_name": "root seed; with the sample number it names the random stream"}
    return xr.Dataset(
        {"spins": (VARIABLES["spins"].dimensions, spins, _attributes(VARIABLES["spins"]))},
        coords={
            "sample": (("sample",), samples, _attributes(VARIABLES["sample"])),
            "energy": (("sample",), columns["energy"], _attributes(VARIABLES["energy"])),
            "seed": (("sample",), seeds, seed_attributes),
            "split": (("sample",), np.array(SPLITS)[columns["split"]]),
            "component": (("component",), list(COMPONENTS)),
            **_parameters(catalog, samples),
        },
        attrs=_flat(catalog.job),
    )


def _parameters(catalog: Catalog, samples: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Coordinates for what differs between samples; texts as they are written in a job."""
    numbers = point_numbers(samples, catalog.points)
    coordinates = {}
    for name, (variable, values) in parameters_of(catalog.points).items():
        if "flag_meanings" in variable.attributes:
            values = np.array(str(variable.attributes["flag_meanings"]).split())[values]
        coordinates[name] = (variable.dimensions, values[numbers], _attributes(variable))
    return coordinates


class _LazySpins(BackendArray):
    """The adapter that xarray indexes."""

    def __init__(self, reader: SpinReader) -> None:
        self._reader = reader
        self.shape = (len(reader), *reader.shape, len(COMPONENTS))
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[np.float32]:
        result: npt.NDArray[np.float32] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read
        )
        return result

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        samples, *window = key
        positions = np.arange(len(self._reader))[samples]
        spins = self._reader.read(np.atleast_1d(positions), tuple(window))
        return spins if np.ndim(positions) else spins[0]


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
