"""Export of variables over named axes as NetCDF files, for sweeps and phase diagrams."""

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
    """Write variables over named axes to a NetCDF-4 file, atomically.

    Args:
        path: the file to write.
        axes: coordinate values by dimension; values other than numbers are written as text.
        variables: (dimensions, values) by name; NaN or "" marks missing values.
        attributes: global attributes.
        long_names: the `long_name` attribute of axes or variables, by name.

    Raises:
        MachineError: the system refuses to write.
    """
    coordinates = {name: ((name,), _column(values)) for name, values in axes.items()}
    dataset = xr.Dataset(dict(variables), coordinates, {"Conventions": "CF-1.11", **attributes})
    for name, long_name in long_names.items():
        dataset[name].attrs["long_name"] = long_name
    with replacing(path) as temporary:
        # Missing values are already NaN, so a fill value would be redundant.
        dataset.to_netcdf(
            temporary, engine="netcdf4", encoding={name: {"_FillValue": None} for name in dataset.variables}
        )


def _column(values: Sequence[Any]) -> npt.NDArray[Any]:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([str(value) for value in values], dtype=object)
