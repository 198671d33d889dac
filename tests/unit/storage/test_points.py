"""Datasets of several Hamiltonians and schedules: assignment to samples, coordinates, energies and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rayspin import job
from rayspin.errors import InputError
from rayspin.job import Context
from rayspin.jobs.generate.facts import DatasetFacts
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.registry import build_stage
from rayspin.physics import DOMAIN, LABYRINTH, AnnealSchedule, Hamiltonian, anneal, energy
from rayspin.rundir import RunDir
from rayspin.storage import Catalog, open_dataset, points_of, verify

TINY = {"sweeps": 20, "quench_sweeps": 20}
GRID = {
    "kind": "generate",
    "samples": 14,
    "size": 16,
    "seed": 5,
    "shard_samples": 5,
    "hamiltonian": "labyrinth",
    "schedule": TINY,
    "grid": {
        "hamiltonian.external_field": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.05], [0.0, 0.0, 0.1]],
        "hamiltonian.dmi": [0.2, 0.4],
    },
}


def grid(**changes: Any) -> Generate:
    return Generate.model_validate(GRID | changes)


def generated(stage: Generate, folder: Path) -> Path:
    job.run(stage, folder, Context(), shards="1/1")
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(grid(), tmp_path_factory.mktemp("grid") / "data")


def test_samples_cycle_through_the_points_of_the_grid(dataset: Path) -> None:
    view = open_dataset(dataset)
    np.testing.assert_array_equal(view["point"], [*range(6), *range(6), 0, 1])
    np.testing.assert_array_equal(view["dmi"], [0.2, 0.4] * 7)
    np.testing.assert_array_equal(view["external_field"][:, 2], ([0.0] * 2 + [0.05] * 2 + [0.1] * 2) * 2 + [0.0] * 2)
    assert view["external_field"].dims == ("sample", "component")
    assert view["dmi"].attrs["units"] == "1"
    assert view["dmi"].attrs["long_name"] == "dmi of the sample's hamiltonian, in units of the exchange constant J"
    for sample in (0, 5, 9):
        hamiltonian = Hamiltonian(
            dmi=float(view["dmi"][sample]),
            external_field=tuple(float(h) for h in view["external_field"].values[sample]),  # type: ignore[arg-type]
        )
        expected = anneal(hamiltonian, size=16, schedule=AnnealSchedule(**TINY), seed=(5, sample))
        np.testing.assert_array_equal(view["spins"][sample], expected)
        assert float(view["energy"][sample]) == energy(expected, hamiltonian)
    # The mean over the samples of each point.
    means = view["energy"].groupby("point").mean()
    assert means.sizes == {"point": 6}
    assert verify(Catalog.entered(dataset)).faults == []


def test_plain_xarray_has_the_parameters_as_coordinates(dataset: Path) -> None:
    with xr.open_mfdataset(str(dataset / "shard-*.nc")) as plain:
        view = open_dataset(dataset)
        for name in ("dmi", "external_field", "point", "energy"):
            assert name in plain["spins"].coords
            np.testing.assert_array_equal(plain[name], view[name])


def test_more_samples_extend_each_point_without_changes_of_shards(dataset: Path, tmp_path: Path) -> None:
    folder = generated(grid(samples=8), tmp_path / "data")
    first = {path.name: path.read_bytes() for path in folder.glob("*.nc")}
    generated(grid(), folder)
    assert first.items() <= {path.name: path.read_bytes() for path in folder.glob("*.nc")}.items()
    xr.testing.assert_identical(open_dataset(folder).load(), open_dataset(dataset).load())
    with pytest.raises(InputError, match=r"grid.hamiltonian.dmi is \[0.2, 0.4\] there and \[0.2, 0.5\] in the job"):
        generated(grid(grid=GRID["grid"] | {"hamiltonian.dmi": [0.2, 0.5]}), folder)  # type: ignore[operator]


def test_variants_replace_hamiltonian_and_schedule_and_cross_with_the_grid(tmp_path: Path) -> None:
    faster = AnnealSchedule(sweeps=10, quench_sweeps=5)
    table = GRID | {
        "samples": 8,
        "variants": [{}, {"hamiltonian": "domain", "schedule": faster.to_table()}],
        "grid": {"schedule.update": ["heat-bath", "metropolis"]},
    }
    points = points_of(Generate.model_validate(table).to_table())
    assert [point.hamiltonian for point in points] == [LABYRINTH, LABYRINTH, DOMAIN, DOMAIN]
    assert [point.schedule.sweeps for point in points] == [20, 20, 10, 10]
    view = open_dataset(generated(Generate.model_validate(table), tmp_path / "data"))
    assert list(view["update"].values) == ["heat-bath", "metropolis"] * 4
    np.testing.assert_array_equal(view["dipole"], [0, 0, 0.03, 0.03] * 2)
    assert verify(Catalog.entered(tmp_path / "data")).faults == []


def test_dataset_with_one_point_has_no_grid(tmp_path: Path) -> None:
    stage = grid(grid={}, samples=5)
    assert "grid" not in stage.identity()
    view = open_dataset(generated(stage, tmp_path / "data"))
    assert "point" not in view.coords


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": {"hamiltonian.dmmi": [0.1]}}, "hamiltonian.dmmi: unknown key; did you mean 'dmi'?"),
        ({"grid": {"size": [16, 32]}}, "grid.size: is not a parameter of a sample; write hamiltonian.KEY"),
        ({"grid": {"hamiltonian.dmi": []}}, "grid.hamiltonian.dmi: has no values"),
        ({"grid": {"hamiltonian.dmi": [0.1, 0.1]}}, "the same Hamiltonian and schedule twice"),
        ({"grid": {"hamiltonian": ["labyrinth", "labirynth"]}}, "did you mean 'labyrinth'?"),
        ({"variants": [{"hamiltonan": "domain"}]}, "unknown key; did you mean 'hamiltonian'?"),
        (
            {"grid": {"hamiltonian.boundary": ["open"]}, "hamiltonian": "domain"},
            "the dipole term is summed over periodic",
        ),
    ],
)
def test_invalid_points_are_a_one_line_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_stage(GRID | changes, "job.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_error_where_a_single_hamiltonian_is_required(dataset: Path) -> None:
    run = RunDir.at(dataset)
    with pytest.raises(InputError, match=r"have 6 Hamiltonians, and this job needs a single one; use a dataset"):
        DatasetFacts.of(str(dataset), run, {})
    with pytest.raises(InputError, match="have 6 Hamiltonians"):
        DatasetFacts.of("@data", run, {"data": grid()})
    with pytest.raises(InputError, match="have 6 Hamiltonians"):
        _ = Catalog.open(dataset).reader().hamiltonian
    schedules = grid(grid={"schedule.sweeps": [10, 20]})
    assert DatasetFacts.of("@data", run, {"data": schedules}).counts["train"] == 14
