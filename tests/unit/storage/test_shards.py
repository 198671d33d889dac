"""Shards are plain NetCDF files that are written completely or not at all, and that open as one lazy dataset."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import tomli_w
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from rayspin.errors import InputError, MachineError
from rayspin.storage import (
    VARIABLES,
    Catalog,
    LedgerWriter,
    ShardRecord,
    ShardWriter,
    SplitCounts,
    Storage,
    inspect_shard,
    open_dataset,
    shard_name,
    shards,
)
from rayspin.storage.schema import Variable

ATTRIBUTES = {"hamiltonian": '{"exchange": 1.0}', "root_seed": "7"}
SIZE = (4, 6)


def values(first: int, count: int) -> dict[str, np.ndarray]:
    samples = np.arange(first, first + count)
    # Each value encodes its sample, row, column and component.
    y, x, c = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]), np.arange(3), indexing="ij")
    spins = (samples[:, None, None, None] * 1000 + y * 100 + x * 10 + c).astype(np.float32)
    return {
        "sample": samples,
        "spins": spins,
        "energy": samples / 8,
        "split": SplitCounts(test=3, validation=4).codes(samples),
    }


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Samples 0 to 24 in shards of 10, 10 and 5."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    job = {
        "kind": "generate",
        "samples": 25,
        "seed": 7,
        "size": list(SIZE),
        "hamiltonian": {"exchange": 1.0, "dmi": 0.3},
    }
    (folder / "job.toml").write_text(tomli_w.dumps(job))
    writer = LedgerWriter(folder)
    for first, count in [(10, 10), (0, 10), (20, 5)]:
        writer.record(ShardWriter(ATTRIBUTES).write(folder / shard_name(first), values(first, count)), host="h")
    return folder


def test_other_programs_read_a_shard(dataset: Path) -> None:
    path = dataset / shard_name(10)
    with netCDF4.Dataset(path) as file:
        assert file.variables["spins"].dimensions == ("sample", "y", "x", "component")
        assert file.variables["spins"].units == "1"
        assert file.variables["spins"].chunking() == "contiguous"
        assert file.root_seed == "7"
    with xr.open_dataset(path) as plain:
        np.testing.assert_array_equal(plain["spins"].values, values(10, 10)["spins"])
        np.testing.assert_array_equal(plain["energy"].values, values(10, 10)["energy"])
        assert list(plain["component"].values) == ["x", "y", "z"]


def test_equal_samples_give_equal_bytes(tmp_path: Path) -> None:
    one = ShardWriter(ATTRIBUTES).write(tmp_path / "one.nc", values(0, 10))
    two = ShardWriter(ATTRIBUTES).write(tmp_path / "two.nc", values(0, 10))
    assert one.sha256 == two.sha256
    assert (tmp_path / "one.nc").read_bytes() == (tmp_path / "two.nc").read_bytes()


@pytest.mark.parametrize("count", [1, 10])
def test_shard_made_from_another_has_the_bytes_of_the_library(tmp_path: Path, count: int) -> None:
    """The first shard of each length is written by the library, and the others are made from its bytes."""
    derived = Variable("twice", ("sample", "y", "x", "component"), "f4", "1", "twice the spins")
    variables = {**VARIABLES, derived.name: derived}

    def values_with_twice(first: int, count: int) -> dict[str, np.ndarray]:
        plain = values(first, count)
        return {**plain, "twice": 2 * plain["spins"]}

    writer = ShardWriter(ATTRIBUTES, variables)
    writer.write(tmp_path / "first.nc", values_with_twice(0, count))
    for first, length in [(40, count), (7, count), (3, count + 1), (5, count + 1)]:
        path, expected = tmp_path / f"{first}-{length}.nc", tmp_path / "expected.nc"
        record = writer.write(path, values_with_twice(first, length))
        ShardWriter(ATTRIBUTES, variables).write(expected, values_with_twice(first, length))
        assert path.read_bytes() == expected.read_bytes()
        assert record == inspect_shard(path, ATTRIBUTES)


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_compressed_shards_have_equal_values_and_reproducible_bytes(
    compression: Any, dataset: Path, tmp_path: Path
) -> None:
    storage = Storage(compression=compression)
    plain = Catalog.read(dataset)
    before = open_dataset(dataset)["spins"].values
    writer = ShardWriter(ATTRIBUTES, storage=storage)
    records = [writer.write(tmp_path / "again.nc", values(0, 10))]
    for first, count in [(0, 10), (10, 10), (20, 5)]:
        records.append(writer.write(dataset / shard_name(first), values(first, count)))
        LedgerWriter(dataset).record(records[-1])
    assert records[0].sha256 == records[1].sha256
    assert [record.values_sha256 for record in records[1:]] == [record.values_sha256 for record in plain.records]
    with netCDF4.Dataset(dataset / shard_name(0)) as file:
        assert file["spins"].filters()[compression]
        assert file["spins"].chunking() == [1, *SIZE, 3]
    np.testing.assert_array_equal(open_dataset(dataset)["spins"], before)
    reader = Catalog.open(dataset).reader("train")
    np.testing.assert_array_equal(reader.read([17, 0, 3, 3]), before[[24, 7, 10, 10]])
    np.testing.assert_array_equal(reader.read([17, 0], np.s_[::2, 1:, 2]), before[[24, 7], ::2, 1:, 2])
    # The filter is found if h5py is imported before netCDF4.
    code = (
        "import h5py, sys; from rayspin.storage import open_dataset\n"
        "print(float(open_dataset(sys.argv[1])['spins'].sum(dtype='f8')))"
    )
    done = subprocess.run([sys.executable, "-c", code, dataset], check=True, capture_output=True, text=True)
    assert float(done.stdout) == pytest.approx(before.sum(dtype=np.float64), rel=1e-5)


@pytest.mark.parametrize("compression", ["none", "zlib", "zstd"])
def test_plain_xarray_opens_all_shards_as_one(compression: Any, tmp_path: Path) -> None:
    writer = ShardWriter(ATTRIBUTES, storage=Storage(compression=compression))
    for first, count in [(0, 10), (10, 10), (20, 5)]:
        writer.write(tmp_path / shard_name(first), values(first, count))
    with xr.open_mfdataset(str(tmp_path / "shard-*.nc")) as view:
        assert dict(view.sizes) == {"sample": 25, "y": SIZE[0], "x": SIZE[1], "component": 3}
        np.testing.assert_array_equal(view["spins"][7:23].values, values(7, 16)["spins"])
        assert {"sample", "energy", "split", "component"} <= set(view["spins"].coords)
        np.testing.assert_array_equal(view["energy"], np.arange(25) / 8)


def test_inspect_refuses_changed_truncated_and_foreign_shards(dataset: Path) -> None:
    path = dataset / shard_name(0)
    assert inspect_shard(path, ATTRIBUTES).count == 10
    with pytest.raises(InputError, match="another job wrote it"):
        inspect_shard(path, ATTRIBUTES | {"root_seed": "8"})
    content = bytearray(path.read_bytes())
    offset = inspect_shard(path).offsets["spins"] + 1234
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="don't match their digest"):
        inspect_shard(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not a complete shard"):
        inspect_shard(path)


def test_bit_flipped_during_writing_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The changed bit is the sign of a zero, so that the two values are equal as numbers."""
    written, offset = values(0, 10), inspect_shard(_write(tmp_path / "whole.nc", values(0, 10))).offsets["energy"]
    assert written["energy"][0] == 0

    def write_badly(path: Path, *arguments: Any) -> None:
        write(path, *arguments)
        content = bytearray(path.read_bytes())
        content[offset + 7] ^= 128
        path.write_bytes(content)

    write = shards._write
    monkeypatch.setattr(shards, "_write", write_badly)
    with pytest.raises(MachineError, match="a shard read back just after writing has different content"):
        _write(tmp_path / "turned.nc", written)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.nc"]


def _write(path: Path, values_by_name: dict[str, np.ndarray]) -> Path:
    ShardWriter(ATTRIBUTES).write(path, values_by_name)
    return path


def test_open_dataset_is_a_lazy_view_of_all_shards(dataset: Path) -> None:
    view = open_dataset(dataset)
    expected = np.concatenate([values(0, 10)["spins"], values(10, 10)["spins"], values(20, 5)["spins"]])
    assert view["spins"].dims == ("sample", "y", "x", "component")
    assert view["spins"].dtype == np.float32
    assert not view["spins"].variable._in_memory
    np.testing.assert_array_equal(view["sample"], np.arange(25))
    np.testing.assert_array_equal(view["energy"], np.arange(25) / 8)
    assert list(view["split"].values[:8]) == ["test"] * 3 + ["validation"] * 4 + ["train"]
    assert view.attrs["hamiltonian.dmi"] == 0.3
    np.testing.assert_array_equal(view["spins"].isel(sample=[24, 3, 11, 3]), expected[[24, 3, 11, 3]])
    np.testing.assert_array_equal(view["spins"].isel(sample=slice(8, 13), y=2), expected[8:13, 2])
    np.testing.assert_array_equal(view["spins"].sel(sample=17, component="z"), expected[17, ..., 2])
    np.testing.assert_array_equal(view["spins"].isel(x=[5, 0]), expected[:, :, [5, 0]])
    np.testing.assert_array_equal(view["spins"][3:20:5, ::2, -1], expected[3:20:5, ::2, -1])
    np.testing.assert_array_equal(view["spins"].where(view["split"] == "test", drop=True), expected[:3])
    np.testing.assert_array_equal(view["spins"].mean("sample"), expected.mean(axis=0, dtype=np.float32))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(view))["spins"], expected)


def test_reader_reads_one_split_in_the_given_order(dataset: Path) -> None:
    reader = Catalog.open(dataset).reader("train")
    np.testing.assert_array_equal(reader.samples, np.arange(7, 25))
    assert reader.shape == SIZE
    assert reader.hamiltonian.dmi == 0.3
    expected = np.stack([values(sample, 1)["spins"][0] for sample in (24, 7, 10)])
    np.testing.assert_array_equal(reader.read([17, 0, 3]), expected)
    assert reader.read([]).shape == (0, *SIZE, 3)


def test_catalog_contains_recorded_shards_that_exist(dataset: Path) -> None:
    ShardWriter(ATTRIBUTES).write(dataset / shard_name(25), values(25, 5))
    assert Catalog.read(dataset).samples_done == 25
    (dataset / shard_name(10)).unlink()
    assert Catalog.read(dataset).samples_done == 15


def test_incomplete_ledger_line_affects_its_shard_only(dataset: Path) -> None:
    ledger = dataset / "ledger.jsonl"
    text = ledger.read_bytes()
    ledger.write_bytes(text[:-30])
    catalog = Catalog.read(dataset)
    assert [record.first_sample for record in catalog.records] == [0, 10]
    LedgerWriter(dataset).record(inspect_shard(dataset / shard_name(20)))
    assert Catalog.read(dataset).samples_done == 25
    assert json.loads(ledger.read_bytes().splitlines()[-1])["first_sample"] == 20


def catalog_of(*shards: tuple[int, int]) -> Catalog:
    return Catalog(Path(), tuple(ShardRecord("", first, count, 0, "", "", {}) for first, count in shards))


def test_missing_shards_fill_gaps_up_to_multiples_of_the_shard_size() -> None:
    catalog = catalog_of((10, 10), (20, 4))
    assert catalog.missing(24, 10) == [(0, 10)]
    assert catalog.missing(45, 10) == [(0, 10), (24, 6), (30, 10), (40, 5)]
    assert catalog_of().missing(25, 10) == [(0, 10), (10, 10), (20, 5)]
    assert catalog_of().missing(3, 10) == [(0, 3)]


@given(edges=st.sets(st.integers(0, 60), min_size=2), samples=st.integers(1, 80), shard_samples=st.integers(1, 30))
def test_finished_and_missing_shards_contain_each_sample_once(
    edges: set[int], samples: int, shard_samples: int
) -> None:
    ordered = sorted(edges)
    done = [(first, stop - first) for first, stop in zip(ordered[::2], ordered[1::2])]
    missing = catalog_of(*done).missing(samples, shard_samples)
    held = [sample for first, count in (*done, *missing) for sample in range(first, first + count)]
    assert len(held) == len(set(held))
    assert set(range(samples)) <= set(held)
    for first, count in missing:
        assert first // shard_samples == (first + count - 1) // shard_samples
        assert first + count <= samples


def test_missing_ledger_and_missing_shards_are_errors(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a dataset"):
        open_dataset(tmp_path)
    for path in dataset.glob("*.nc"):
        path.unlink()
    with pytest.raises(InputError, match="has no finished shard"):
        open_dataset(dataset)


def test_raw_bytes_at_the_offset_are_the_values(dataset: Path) -> None:
    """Memory maps require that the bytes at the recorded offset are the little-endian array."""
    record = Catalog.read(dataset).records[1]
    with h5py.File(dataset / record.file) as file:
        expected = file["spins"][...]
    raw = np.fromfile(dataset / record.file, "<f4", expected.size, offset=record.offsets["spins"])
    np.testing.assert_array_equal(raw.reshape(expected.shape), expected)
