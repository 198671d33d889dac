"""Tables over named axes as NetCDF: what a sweep or a phase diagram leaves for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from rayspin.rundir import replacing


def write_grid(
    path: str | Path,
    axes: Mapping[str, Sequence[Any]],
    variables: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]],
    attributes: Mapping[str, str],
    long_names: Mapping[str, str],
) -> None:
    """Write variables over named axes as one NetCDF-4 file, whole or not at all.

    Args:
        path: the file.
        axes: the values along each dimension; what is neither number nor text is written as text.
        variables: by name, (dimensions, values); NaN or "" where there is none.
        attributes: global attributes.
        long_names: what an axis or a variable is, where the name alone doesn't say it.
    """
    coordinates = {name: ((name,), _column(values)) for name, values in axes.items()}
    dataset = xr.Dataset(dict(variables), coordinates, {"Conventions": "CF-1.11", **attributes})
    for name, long_name in long_names.items():
        dataset[name].attrs["long_name"] = long_name
    with replacing(path) as temporary:
        # Every place of a grid is filled, with NaN at least: a fill value would be a second way to say the same.
        dataset.to_netcdf(
            temporary, engine="netcdf4", encoding={name: {"_FillValue": None} for name in dataset.variables}
        )


def _column(values: Sequence[Any]) -> npt.NDArray[Any]:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([str(value) for value in values], dtype=object)
