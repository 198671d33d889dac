"""Datasets on disk: NetCDF shards, the catalog of a dataset folder, and lazy views of its samples."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rayspin.storage.catalog import Catalog, SpinReader, mending
from rayspin.storage.derived import Derived, variables_of
from rayspin.storage.images import Images
from rayspin.storage.ledger import LedgerWriter, own_ledger
from rayspin.storage.points import Point, each_point, energies_at, parameters_of, point_numbers, points_of
from rayspin.storage.schema import FORMAT, SPLITS, VARIABLES, Split, SplitCounts, Storage, Variable
from rayspin.storage.shards import (
    ShardRecord,
    ShardWriter,
    inspect_shard,
    read_contents,
    read_shard,
    read_variables,
    shard_name,
)
from rayspin.storage.verification import Fault, Verification, verify

if TYPE_CHECKING:
    from rayspin.storage.grids import write_grid
    from rayspin.storage.xarray_view import open_dataset

__all__ = [
    "FORMAT",
    "SPLITS",
    "VARIABLES",
    "Catalog",
    "Derived",
    "Fault",
    "Images",
    "LedgerWriter",
    "Point",
    "ShardRecord",
    "ShardWriter",
    "SpinReader",
    "Split",
    "SplitCounts",
    "Storage",
    "Variable",
    "Verification",
    "each_point",
    "energies_at",
    "inspect_shard",
    "mending",
    "open_dataset",
    "own_ledger",
    "parameters_of",
    "point_numbers",
    "points_of",
    "read_contents",
    "read_shard",
    "read_variables",
    "shard_name",
    "variables_of",
    "verify",
    "write_grid",
]

_WITH_XARRAY = {"open_dataset": "xarray_view", "write_grid": "grids"}


def __getattr__(name: str) -> Any:
    """Import the functions that need xarray on first use: the import takes a second, and workers don't need it."""
    if name not in _WITH_XARRAY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WITH_XARRAY[name]}"), name)
