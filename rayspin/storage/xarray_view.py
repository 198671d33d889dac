"""One lazy xarray view over all shards of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from rayspin.storage.catalog import Catalog, SpinReader
from rayspin.storage.schema import COMPONENTS, SPLITS, VARIABLES


def open_dataset(path: str | Path) -> xr.Dataset:
    """The dataset in the folder `path`, over all its shards; spins are read when they are asked for.

    Returns:
        spins (sample, y, x, component) float32, unit vectors; energy (sample) float64, energy per site in J.
        Coordinates: sample (number), split (sample: "train", "validation" or "test"), component ("x", "y", "z").
        Attributes: the resolved job, flat (`hamiltonian.dmi`, `schedule.sweeps`, ...).

    Raises:
        InputError: no dataset there, or none of its shards is done.
    """
    catalog = Catalog.open(Path(path))
    spins = indexing.LazilyIndexedArray(_LazySpins(catalog.reader()))
    return xr.Dataset(
        {
            "spins": (VARIABLES["spins"].dimensions, spins, _attributes("spins")),
            "energy": (("sample",), catalog.column("energy"), _attributes("energy")),
        },
        coords={
            "sample": (("sample",), catalog.column("sample"), _attributes("sample")),
            "split": (("sample",), np.array(SPLITS)[catalog.column("split")]),
            "component": (("component",), list(COMPONENTS)),
        },
        attrs=_flat(catalog.job),
    )


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


def _attributes(name: str) -> dict[str, str]:
    return {"units": VARIABLES[name].units, "long_name": VARIABLES[name].long_name}


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one level with dotted keys, as NetCDF attributes must be."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
