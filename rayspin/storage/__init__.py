"""Datasets on disk: NetCDF shards, their catalog, and lazy views over them."""

from rayspin.storage.catalog import Catalog, SpinReader
from rayspin.storage.derived import Derived, variables_of
from rayspin.storage.grids import write_grid
from rayspin.storage.ledger import own_ledger
from rayspin.storage.points import Point, each_point, energies_at, parameters_of, point_numbers, points_of
from rayspin.storage.schema import SPLITS, VARIABLES, Split, SplitCounts, Storage
from rayspin.storage.shards import ShardRecord, inspect_shard, read_shard, shard_name, write_shard
from rayspin.storage.verification import Fault, Verification, verify
from rayspin.storage.xarray_view import open_dataset

__all__ = [
    "SPLITS",
    "VARIABLES",
    "Catalog",
    "Derived",
    "Fault",
    "Point",
    "ShardRecord",
    "SpinReader",
    "Split",
    "SplitCounts",
    "Storage",
    "Verification",
    "each_point",
    "energies_at",
    "inspect_shard",
    "open_dataset",
    "own_ledger",
    "parameters_of",
    "point_numbers",
    "points_of",
    "read_shard",
    "shard_name",
    "variables_of",
    "verify",
    "write_grid",
    "write_shard",
]
