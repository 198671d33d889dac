"""Fields and coarse versions, which are computed on reading or stored by the job, with equal values."""

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


def test_derived_variables_are_computed_on_reading(plain: Path) -> None:
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
    # The energy of pair interactions is - sum S . F / 2.
    energies = -0.5 * (view["spins"] * view["field"]).sum("component").mean(("y", "x"))
    np.testing.assert_allclose(energies, view["energy"], rtol=1e-6)


def test_published_degradation_is_the_default(plain: Path) -> None:
    view = open_dataset(plain, coarse=(4,))
    np.testing.assert_array_equal(view["coarse4"], Degradation().apply(view["spins"].values, 4))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_stored_variables_equal_computed_ones(compression: str, plain: Path, tmp_path: Path) -> None:
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


def test_stored_variables_are_read_and_others_are_computed(stored: Path) -> None:
    before = open_dataset(stored, field=True)
    file, offset = stored / shard_name(0), Catalog.open(stored).records[0].offsets["field"]
    with file.open("r+b") as stream:
        stream.seek(offset)
        stream.write(np.float32(7).tobytes())
    changed = open_dataset(stored, field=True, coarse=(4, 8))
    assert changed["field"][0, 0, 0, 0] == 7
    assert before["field"][0, 0, 0, 1] == changed["field"][0, 0, 0, 1]
    # The degradation of the job is the default.
    np.testing.assert_array_equal(changed["coarse8"], Degradation(**BLUR).apply(changed["spins"].values, 8))
    other = open_dataset(stored, coarse=(4,), degradation=Degradation())
    np.testing.assert_array_equal(other["coarse4"], Degradation().apply(other["spins"].values, 4))


def test_verify_reports_a_variable_that_differs_from_its_spins(stored: Path) -> None:
    values, attributes = read_shard(stored / shard_name(3))
    del attributes["values_sha256"], attributes["derived_variables"], attributes["parameters"]
    values["coarse4"] = values["coarse4"] + np.float32(1e-3)
    variables = Catalog.open(stored).variables
    LedgerWriter(stored).record(ShardWriter(attributes, variables).write(stored / shard_name(3), values))
    (fault,) = verify(Catalog.entered(stored)).faults
    assert (fault.first_sample, fault.as_written) == (3, True)
    assert "has values of 'coarse4' that differ from those of its spins (by 0.001)" in fault.problem


def test_dataset_without_derived_variables_is_unchanged(plain: Path, tmp_path: Path) -> None:
    stage = Generate.model_validate(PLAIN)
    assert "derived" not in stage.identity()
    tmp_path.joinpath("one").mkdir()
    record = ShardMaker(stage, tmp_path / "one").work((0, 3)).record
    assert record.sha256 == Catalog.open(plain).records[0].sha256
    values, attributes = read_shard(plain / shard_name(0))
    assert {*values} == {"sample", "spins", "energy", "split", "point", "dmi"}
    assert {"derived", "derived_variables"}.isdisjoint(attributes)
    with pytest.raises(InputError, match=r"derived is not set there and \{'field': True"):
        generated(plain, derived={"field": True})


@pytest.mark.parametrize(
    ("derived", "changes", "message"),
    [
        ({"coarse": [5]}, {}, "16 x 24 sites don't divide into blocks of 5"),
        ({"coarse": [4, 4]}, {}, "contains a scale twice"),
        ({"coarse": [1]}, {}, "greater than 1"),
        ({"coarse": [4]}, {"hamiltonian": {"boundary": "open"}, "grid": {}}, "needs periodic boundaries"),
        ({"coarse": [4], "degradation": {"mosaic": 4}}, {}, "blocks of 16"),
        ({"fields": True}, {}, "did you mean 'field'?"),
    ],
)
def test_impossible_derived_variables_are_refused(derived: Any, changes: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Generate(**(PLAIN | changes | {"derived": derived}))
    assert message in str(error.value)


def test_impossible_coarse_version_is_refused_on_reading(plain: Path) -> None:
    with pytest.raises(InputError, match="don't divide into blocks of 5"):
        open_dataset(plain, coarse=(5,))
