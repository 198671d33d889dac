"""Datasets on disk: NetCDF shards, their catalog, and lazy views over them."""

from rayspin.storage.catalog import Catalog, SpinReader
from rayspin.storage.grids import write_grid
from rayspin.storage.ledger import own_ledger
from rayspin.storage.schema import SPLITS, VARIABLES, Split, SplitCounts
from rayspin.storage.shards import ShardRecord, inspect_shard, read_shard, shard_name, write_shard
from rayspin.storage.verification import Fault, verify
from rayspin.storage.xarray_view import open_dataset

__all__ = [
    "SPLITS",
    "VARIABLES",
    "Catalog",
    "Fault",
    "ShardRecord",
    "SpinReader",
    "Split",
    "SplitCounts",
    "inspect_shard",
    "open_dataset",
    "own_ledger",
    "read_shard",
    "shard_name",
    "verify",
    "write_grid",
    "write_shard",
]
