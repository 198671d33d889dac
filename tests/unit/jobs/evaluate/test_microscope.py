"""Fields and fine spins from pictures whose truth is known."""

from __future__ import annotations

import csv
import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin.application import operations
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.evaluate import microscope
from rayspin.jobs.evaluate.microscope import ISOTROPIC, TABLE, Microscopy
from rayspin.jobs.microscope.job import MicroscopeImages
from rayspin.jobs.microscope.pictures import Pictures
from rayspin.jobs.stage import Context, execute
from rayspin.jobs.train.job import TrainSr
from rayspin.reconstruction import reconstruct
from rayspin.rundir import RunDir, Summary
from tests.support import datasets

Z_ALONE = {"components": "z", "gain": [1.0, 1.0, 50.0], "offset": [0.0, 0.0, 90.0]}


@pytest.fixture(scope="module")
def labyrinths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    schedule = {"sweeps": 300, "quench_sweeps": 100}
    stage = datasets.labyrinths(1, 192, schedule=schedule, splits={"test": 1, "validation": 0})
    return datasets.make(stage, tmp_path_factory.mktemp("labyrinths") / "data")


def executed(job: Any, folder: Path) -> Summary:
    run = RunDir.at(folder)
    job.check(run, {})
    with run.claimed(job.identity()):
        return job.run(run, Context())


def pictured(labyrinths: Path, folder: Path, **table: Any) -> Path:
    table = {"kind": "microscope-images", "dataset": str(labyrinths), **table}
    executed(build(MicroscopeImages, table, "job"), folder)
    return folder


def measured(pictures: Path, folder: Path, **table: Any) -> tuple[Summary, dict[str, dict[str, str]]]:
    job = build(Microscopy, {"kind": "microscope", "pictures": str(pictures), **table}, "job")
    summary = executed(job, folder)
    with (folder / TABLE).open() as stream:
        return summary, {row["method"]: row for row in csv.DictReader(stream)}


def test_a_field_network_finds_the_components_that_a_picture_does_not_show(labyrinths: Path, tmp_path: Path) -> None:
    pictures = pictured(labyrinths, tmp_path / "pictures", size=140, microscope=Z_ALONE)
    _, rows = measured(pictures, tmp_path / "field", networks={"network": "pretrained:labyrinth-field"})
    network, isotropic = rows["network"], rows[ISOTROPIC]
    # S_z has half of the mean square of the field (the texture rotates in a plane that contains z).
    assert float(isotropic["mse_relative"]) == pytest.approx(0.5, abs=0.1)
    assert float(network["inside_mse_relative"]) < 0.02
    assert float(network["sites_per_pixel"]) == pytest.approx(1, rel=0.05)


def test_methods_are_compared_with_the_true_spins_of_the_square(labyrinths: Path, tmp_path: Path) -> None:
    known = {"limits": [40.0, 140.0]}
    pictures = pictured(
        labyrinths, tmp_path / "pictures", size=30, scale=4, held_out=10, microscope=Z_ALONE, levels=known
    )
    summary, rows = measured(pictures, tmp_path / "fine", methods=["bicubic", "fourier", "map"], noise=0.0)
    # Fourier interpolation inverts the degradation; the picture is continued by its mirror image.
    assert float(rows["fourier"]["misfit"]) < 0.01
    assert float(rows["map"]["mse"]) < 1e-3 < float(rows["bicubic"]["mse_z"])
    assert rows["bicubic"]["mse"] == "nan"
    assert "of all components" in summary.figures["map"]


def test_without_the_truth_there_is_consistency_alone(labyrinths: Path, tmp_path: Path) -> None:
    folder = pictured(labyrinths, tmp_path / "pictures", size=30, scale=4, microscope=Z_ALONE)
    dataclasses.replace(Pictures.load(folder), truth={}).save(folder)
    summary, rows = measured(folder, tmp_path / "fine", methods=["gaussian"])
    assert set(rows["gaussian"]) == {"picture", "method", "quantity", "misfit"}
    assert summary.figures["pictures"] == "1, truth not known: no errors"


@pytest.mark.parametrize(
    ("table", "scale", "problem"),
    [
        ({}, 4, "neither methods nor networks"),
        ({"methods": ["bicubic"]}, 1, "show all sites"),
        ({"methods": ["cubic"]}, 4, "unknown method 'cubic'"),
        ({"networks": {"x8": "pretrained:labyrinth-x8"}}, 4, "is for scale 8"),
        ({"networks": {"field": "pretrained:labyrinth-field"}}, 4, "is for scale 1"),
        ({"methods": ["bicubic", "bicubic"]}, 4, "'bicubic' occurs twice"),
        ({"methods": ["map"], "networks": {"map": "pretrained:labyrinth-x4"}}, 4, "'map' occurs twice"),
        ({"methods": ["wiener"]}, 4, "'wiener' needs more than a picture"),
        ({"methods": ["wiener-em"]}, 4, '"wiener-em" needs all components'),
        ({"networks": {"x4": "pretrained:labyrinth-x4"}}, 4, "'pretrained:labyrinth-x4' needs all components"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run(
    table: dict[str, Any], scale: int, problem: str, labyrinths: Path, tmp_path: Path
) -> None:
    images = build(
        MicroscopeImages,
        {"kind": "microscope-images", "dataset": str(labyrinths), "scale": scale, "microscope": Z_ALONE},
        "pictures",
    )
    job = build(Microscopy, {"kind": "microscope", "pictures": "@pictures", **table}, "job")
    with pytest.raises(InputError, match=problem):
        job.check(RunDir.at(tmp_path), {"pictures": images})
    with pytest.raises(InputError, match="no earlier stage '@pictures' makes pictures"):
        job.check(RunDir.at(tmp_path), {})


@pytest.mark.parametrize(
    ("images", "hamiltonian", "known"),
    [
        ({}, {"dmi": 0.3}, True),
        ({"magnification": 1.3}, {"dmi": 0.3}, False),
        ({}, {"dmi": 0.3, "external_field": [0.0, 0.0, 0.1]}, True),
        ({}, {"dmi": 0.3, "external_field": [0.1, 0.0, 0.0]}, False),
        ({"angle": 0.0}, {"dmi": 0.3, "external_field": [0.1, 0.0, 0.0]}, True),
        ({}, {"anisotropy": 0.2, "anisotropy_axis": [1.0, 0.0, 0.0]}, False),
    ],
)
def test_hamiltonian_of_a_picture_is_that_of_its_axes_and_sites(
    images: dict[str, Any], hamiltonian: dict[str, Any], known: bool, tmp_path: Path
) -> None:
    fields = datasets.labyrinths(1, 128, hamiltonian=hamiltonian, splits={"test": 1, "validation": 0})
    given = {"kind": "microscope-images", "dataset": "@fields", "scale": 4, "size": 10, **images}
    pictures = build(MicroscopeImages, given, "pictures")
    assert pictures.pictured(fields.hamiltonian) == (fields.hamiltonian if known else None)
    job = build(Microscopy, {"kind": "microscope", "pictures": "@pictures", "methods": ["map"]}, "job")
    earlier = {"fields": fields, "pictures": pictures}
    with nullcontext() if known else pytest.raises(InputError, match='hamiltonian: the method "map" needs one'):
        job.check(RunDir.at(tmp_path), earlier)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"network": {"scale": 8}}, "the network has scale 8, and the pictures have 4"),
        ({"objective": {"noise_amplitude": 0.1}}, "not for tiles"),
        ({"training": {"augmentation": "translations"}}, "tiles aren't periodic"),
        ({"further_datasets": {"other": 0.1}}, "can't be mixed with tiles"),
    ],
)
def test_trainings_on_tiles_are_checked_before_the_run(table: dict[str, Any], problem: str, tmp_path: Path) -> None:
    images = build(MicroscopeImages, {"kind": "microscope-images", "dataset": "@fields", "scale": 4}, "pictures")
    given = {"kind": "train-sr", "dataset": "@pictures", "network": {"scale": 4}, "tiles": {"size": 8}, **table}
    with pytest.raises(InputError, match=problem):
        build(TrainSr, given, "job").check(RunDir.at(tmp_path), {"pictures": images})


def test_a_network_of_tiles_reconstructs_the_component_that_it_learned(labyrinths: Path, tmp_path: Path) -> None:
    pictures = pictured(labyrinths, tmp_path / "pictures", size=30, scale=4, microscope=Z_ALONE)
    job = build(
        TrainSr,
        {
            "kind": "train-sr",
            "dataset": str(pictures),
            "network": {"scale": 4, "expanding_filters": [8], "normalized_output": True},
            "tiles": {"size": 8, "count": 32, "validation": 4},
            "training": {"epochs": 1, "batch_size": 8},
        },
        "job",
    )
    job.check(RunDir.at(tmp_path / "train"), {})
    result = job.fit(pictures, tmp_path / "train")
    assert np.isfinite(result.best_epoch["validation_loss"])
    assert set(job.figures(result.best_epoch)) == {"tiles"}
    _, rows = measured(pictures, tmp_path / "fine", networks={"network": str(result.best)})
    assert rows["network"]["mse"] == "nan"
    assert 0 < float(rows["network"]["mse_z"]) < 1


def test_plans_cost_what_is_not_done(labyrinths: Path, tmp_path: Path) -> None:
    images = build(
        MicroscopeImages,
        {"kind": "microscope-images", "dataset": str(labyrinths), "size": 30, "scale": 4, "held_out": 10},
        "job",
    )
    table = {"kind": "microscope", "pictures": "@images", "methods": ["bicubic", "fourier"]}
    job = build(Microscopy, {**table, "networks": {"network": "pretrained:labyrinth-x4"}}, "job")
    run = RunDir.at(tmp_path / "pipeline/images")
    plan = images.plan(run, {})
    assert plan.core_seconds > 0
    fine = 4 * 4 * 3 * 30 * 30
    assert plan.bytes == pytest.approx(fine * 4 + 30 * 30 * 13)
    planned = job.plan(RunDir.at(tmp_path / "pipeline/fine"), {"images": images})
    assert planned.core_seconds > 0
    # The methods are applied in one process.
    assert planned.seconds_on(64) == planned.core_seconds
    execute(images, run, Context())
    assert images.plan(run, {}).core_seconds == 0


def test_the_planned_part_of_a_picture_stands_for_the_whole(labyrinths: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Methods see as many pixels in the part, as often as it is counted, as in the run."""
    pictures = pictured(labyrinths, tmp_path / "pictures", size=30, scale=4, held_out=20)
    seen: list[int] = []

    def counted(coarse_NYXC: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(coarse_NYXC.shape[-3] * coarse_NYXC.shape[-2])
        return reconstruct(coarse_NYXC, *arguments, **options)

    monkeypatch.setattr(operations, "reconstruct", counted)
    monkeypatch.setattr(microscope, "seconds_of", lambda work: float(work() is not None) * seen[-1])
    job = build(Microscopy, {"kind": "microscope", "pictures": str(pictures), "methods": ["bicubic"]}, "job")
    planned = job.plan(RunDir.at(tmp_path / "fine"), {}).core_seconds
    assert len(seen) == 1
    part = seen.pop()
    executed(job, tmp_path / "fine")
    assert planned == pytest.approx(sum(seen))
    assert part < sum(seen) / 4
