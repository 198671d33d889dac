"""Arguments of the functions of `rayspin.storage`: accepted types, and errors in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.jobs.generate.job import Generate
from rayspin.physics import Degradation
from rayspin.storage import (
    Catalog,
    ShardWriter,
    SplitCounts,
    energies_at,
    inspect_shard,
    open_dataset,
    point_numbers,
    points_of,
    read_shard,
    shard_name,
    verify,
    write_grid,
)
from tests.support import datasets

TABLE = {
    "samples": 5,
    "size": 8,
    "shard_samples": 3,
    "hamiltonian": "labyrinth",
    "schedule": {"sweeps": 2, "quench_sweeps": 2},
    "splits": {"test": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "data"
    job = Generate.model_validate(TABLE)
    return datasets.make(job, path)


@pytest.fixture(scope="module")
def reader(folder):
    return Catalog.open(folder).reader()


def test_paths_may_be_strings(folder, tmp_path):
    text = str(folder)
    for open_catalog in (Catalog.open, Catalog.read, Catalog.entered):
        assert open_catalog(text) == open_catalog(folder)
    assert Catalog.history(text) == Catalog.history(folder)
    shard = folder / shard_name(np.int64(0))
    assert inspect_shard(str(shard)) == inspect_shard(shard)
    assert read_shard(str(shard))[1] == read_shard(shard)[1]
    assert not verify(text).faults
    assert not verify(folder).faults
    values, attributes = read_shard(shard)
    record = ShardWriter(attributes).write(str(tmp_path / "copy.nc"), values)
    assert record.values_sha256 == inspect_shard(shard).values_sha256
    write_grid(str(tmp_path / "grid.nc"), {"a": [1, 2]}, {"b": (("a",), np.zeros(2))}, {}, {})
    assert (tmp_path / "grid.nc").is_file()


@pytest.mark.parametrize("scales", [4, np.int64(4), [4], (4,), np.array([4]), np.array([4], np.uint8)])
def test_coarse_accepts_one_scale_or_several(folder, scales):
    view = open_dataset(str(folder), coarse=scales, degradation={"sigma": 0.0})
    np.testing.assert_array_equal(view["coarse4"], view["spins"].values[:, ::4, ::4])


def test_positions_are_integers_and_negative_ones_count_from_the_end(reader):
    spins = reader.whole()
    for positions in ([3, 0], (3, 0), np.array([3, 0], np.uint8), range(3, -1, -3), [-2, 0]):
        np.testing.assert_array_equal(reader.read(positions), spins[[3, 0]])
    assert reader.read([]).shape == (0, 8, 8, 3)


def test_sample_numbers_may_be_a_list():
    points = points_of(TABLE | {"hamiltonian": {}, "grid": {"hamiltonian.dmi": np.array([0.1, 0.2])}})
    assert point_numbers([0, 1, 2], points).tolist() == [0, 1, 0]
    assert SplitCounts(test=1, validation=1).codes([0, 1, 2]).tolist() == [2, 1, 0]
    up = np.broadcast_to([0.0, 0.0, 1.0], (2, 4, 4, 3))
    assert energies_at(points, [0, 1], up).tolist() == [-2, -2]


BAD = {
    "unknown split": (lambda catalog: catalog.reader("tset"), "split: 'tset' is not a split; did you mean 'test'?"),
    "split as a number": (lambda catalog: catalog.reader(0), "split: 0 is not a split; known: test, train, validation"),
    "unknown variable": (lambda catalog: catalog.reader(variable="spin"), "variable: 'spin' is not in the dataset"),
    "unknown column": (lambda catalog: catalog.column("enrgy"), "variable: 'enrgy' .* did you mean 'energy'?"),
    "column on the lattice": (lambda catalog: catalog.column("spins"), "variable: 'spins' is a field on the lattice"),
    "reader of a column": (
        lambda catalog: catalog.reader(variable="energy"),
        "variable: 'energy' has one value per samp",
    ),
    "one position": (lambda catalog: catalog.reader().read(2), "positions: have shape"),
    "mask": (lambda catalog: catalog.reader().read([True] * 5), "positions: .* dtype bool; .* np.flatnonzero"),
    "real positions": (lambda catalog: catalog.reader().read([0.5, 1.0]), "positions: .* dtype float64"),
    "position beyond the end": (lambda catalog: catalog.reader().read([0, 5]), "positions: 5 is out of range"),
    "position before the first": (lambda catalog: catalog.reader().read([-6]), "positions: -6 is out of range"),
    "real scale of two": (lambda c: open_dataset(c.path, coarse=[2, 4.5]), "coarse.1: 4.5 is invalid"),
    "scale as a string": (lambda catalog: open_dataset(catalog.path, coarse="four"), "coarse.0: 'four' is invalid"),
    "scale that does not divide": (lambda catalog: open_dataset(catalog.path, coarse=3), "degradation: 8 x 8 sites"),
    "grid without a list": (
        lambda _: points_of(TABLE | {"grid": {"hamiltonian.dmi": 0.3}}),
        "grid.hamiltonian.dmi: has",
    ),
    "grid with a string": (
        lambda _: points_of(TABLE | {"grid": {"hamiltonian.dmi_kind": "bulk"}}),
        "grid.* has no values",
    ),
    "real numbers of samples": (lambda catalog: SplitCounts().codes([0.5]), "samples: have shape"),
    "no shard": (lambda catalog: read_shard(Path("/nowhere/shard.nc")), "/nowhere/shard.nc: is missing"),
    "another file": (lambda catalog: read_shard(catalog.path / "job.toml"), ".*job.toml: is not a complete shard"),
    "values without spins": (
        lambda catalog: ShardWriter({}).write(catalog.path / "new.nc", {"sample": [1]}),
        "values: have {'sample': 1} samples; the variables are sample, spins, energy, split; give one array",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_argument_is_a_one_line_error(folder, case):
    call, message = BAD[case]
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match=f"^{message}") as error:
        call(Catalog.open(folder))
    assert "\n" not in str(error.value)
    assert sorted(folder.iterdir()) == before


def test_degradation_may_be_an_object(folder):
    view = open_dataset(folder, coarse=2, degradation=Degradation(sigma=0.0))
    assert view["coarse2"].shape == (5, 4, 4, 3)
