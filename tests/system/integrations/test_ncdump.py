"""The command line tools of the NetCDF library read shards."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rayspin.storage import shard_name
from tests.support import datasets


@pytest.mark.skipif(shutil.which("ncdump") is None, reason="ncdump (netcdf-bin) is not installed")
def test_ncdump_reads_a_shard(tmp_path: Path) -> None:
    folder = datasets.make(datasets.labyrinths(2, 8, splits={"test": 0}), tmp_path / "data")
    header = subprocess.run(["ncdump", "-h", folder / shard_name(0)], check=True, capture_output=True, text=True).stdout
    assert "float spins(sample, y, x, component)" in header
