"""Fields and coarse versions: computed when they are read, stored when a job asks for them, the same either way."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rayspin import job
from rayspin.errors import InputError
from rayspin.job import Context
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import ShardMaker
from rayspin.physics import Degradation, Hamiltonian, effective_field
from rayspin.storage import Catalog, LedgerWriter, ShardWriter, open_dataset, shard_name, verify
from rayspin.storage.shards import read_shard

PLAIN = {
    "samples": 8,
    "size": [16, 24],
    "seed": 5,
    "shard_samples": 3,
    "hamiltonian": "labyrinth",
    "schedule": {"sweeps": 20, "quench_sweeps": 20},
    "grid": {"hamiltonian.dmi": [0.2, 0.4]},
}
BLUR = {"sigma": 2.0, "sampling": "average"}
DERIVED = {"field": True, "coarse": [4, 2], "degradation": BLUR}


def generated(folder: Path, **changes: Any) -> Path:
    job.run(Generate.model_validate(PLAIN | changes), folder, Context(), shards="1/1")
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory.mktemp("plain") / "data")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return generated(tmp_path / "data", derived=DERIVED)


def test_they_are_computed_when_they_are_read(plain: Path) -> None:
    view = open_dataset(plain, field=True, coarse=[4, 8], degradation=Degradation(sigma=0.0))
    assert set(view.data_vars) == {"spins", "field", "coarse4", "coarse8"}
    assert not any(variable.variable._in_memory for variable in view.data_vars.values())
    assert view["coarse4"].dims == ("sample", "y4", "x4", "component")
    assert view["field"].attrs["units"] == "1"
    assert view["field"].attrs["long_name"].endswith("in units of the exchange constant J")
    spins = view["spins"].values
    field = np.stack([effective_field(s, Hamiltonian(dmi=d)) for s, d in zip(spins, view["dmi"].values)])
    np.testing.assert_array_equal(view["field"], field)
    # Without a blur, the published degradation keeps the corner of each block.
    np.testing.assert_array_equal(view["coarse4"], spins[:, ::4, ::4])
    np.testing.assert_array_equal(view["coarse8"], spins[:, ::8, ::8])
    np.testing.assert_array_equal(
        view["field"].isel(sample=[6, 1], x=slice(3, 9), component=2), field[[6, 1], :, 3:9, 2]
    )
    np.testing.assert_array_equal(view["coarse4"].sel(sample=5, component="y"), spins[5, ::4, ::4, 1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(view))["field"], field)
    # The energy of pairs: - sum S . F / 2.
    energies = -0.5 * (view["spins"] * view["field"]).sum("component").mean(("y", "x"))
    np.testing.assert_allclose(energies, view["energy"], rtol=1e-6)


def test_the_published_degradation_unless_another_is_asked_for(plain: Path) -> None:
    view = open_dataset(plain, coarse=(4,))
    np.testing.assert_array_equal(view["coarse4"], Degradation().apply(view["spins"].values, 4))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_stored_they_are_the_same(compression: str, plain: Path, tmp_path: Path) -> None:
    folder = generated(tmp_path / "data", derived=DERIVED, storage={"compression": compression})
    computed = open_dataset(plain, field=True, coarse=(4, 2), degradation=Degradation(**BLUR))
    view = open_dataset(folder)
    assert set(view.data_vars) == {"spins", "field", "coarse4", "coarse2"}
    for name in view.data_vars:
        np.testing.assert_array_equal(view[name], computed[name])
        assert view[name].attrs == computed[name].attrs
    assert verify(Catalog.entered(folder)).faults == []
    with xr.open_mfdataset(str(folder / "shard-*.nc")) as other:
        assert {"energy", "dmi", "split"} <= set(other["field"].coords)
        np.testing.assert_array_equal(other["coarse4"], computed["coarse4"])


def test_what_is_stored_is_read_and_what_is_not_is_computed(stored: Path) -> None:
    before = open_dataset(stored, field=True)
    file, offset = stored / shard_name(0), Catalog.open(stored).records[0].offsets["field"]
    with file.open("r+b") as stream:
        stream.seek(offset)
        stream.write(np.float32(7).tobytes())
    changed = open_dataset(stored, field=True, coarse=(4, 8))
    assert changed["field"][0, 0, 0, 0] == 7
    assert before["field"][0, 0, 0, 1] == changed["field"][0, 0, 0, 1]
    # Where the job has a degradation, that one is meant.
    np.testing.assert_array_equal(changed["coarse8"], Degradation(**BLUR).apply(changed["spins"].values, 8))
    other = open_dataset(stored, coarse=(4,), degradation=Degradation())
    np.testing.assert_array_equal(other["coarse4"], Degradation().apply(other["spins"].values, 4))


def test_one_that_is_not_that_of_its_spins_is_found(stored: Path) -> None:
    values, attributes = read_shard(stored / shard_name(3))
    del attributes["values_sha256"], attributes["derived_variables"], attributes["parameters"]
    values["coarse4"] = values["coarse4"] + np.float32(1e-3)
    variables = Catalog.open(stored).variables
    LedgerWriter(stored).record(ShardWriter(attributes, variables).write(stored / shard_name(3), values))
    (fault,) = verify(Catalog.entered(stored)).faults
    assert (fault.first_sample, fault.as_written) == (3, True)
    assert "has values of 'coarse4' that differ from those of its spins (by 0.001)" in fault.problem


def test_a_dataset_without_them_is_as_it_ever_was(plain: Path, tmp_path: Path) -> None:
    asked = Generate.model_validate(PLAIN)
    assert "derived" not in asked.identity()
    tmp_path.joinpath("one").mkdir()
    record = ShardMaker(asked, tmp_path / "one").work((0, 3)).record
    assert record.sha256 == Catalog.open(plain).records[0].sha256
    values, attributes = read_shard(plain / shard_name(0))
    assert {*values} == {"sample", "spins", "energy", "split", "point", "dmi"}
    assert {"derived", "derived_variables"}.isdisjoint(attributes)
    with pytest.raises(InputError, match=r"derived is not set there and \{'field': True"):
        generated(plain, derived={"field": True})


@pytest.mark.parametrize(
    ("derived", "changes", "said"),
    [
        ({"coarse": [5]}, {}, "16 x 24 sites don't divide into blocks of 5"),
        ({"coarse": [4, 4]}, {}, "contains a scale twice"),
        ({"coarse": [1]}, {}, "greater than 1"),
        ({"coarse": [4]}, {"hamiltonian": {"boundary": "open"}, "grid": {}}, "needs periodic boundaries"),
        ({"coarse": [4], "degradation": {"mosaic": 4}}, {}, "blocks of 16"),
        ({"fields": True}, {}, "did you mean 'field'?"),
    ],
)
def test_what_can_not_be_computed_is_refused(derived: Any, changes: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        Generate(**(PLAIN | changes | {"derived": derived}))
    assert said in str(error.value)


def test_so_it_is_on_reading(plain: Path) -> None:
    with pytest.raises(InputError, match="don't divide into blocks of 5"):
        open_dataset(plain, coarse=(5,))
