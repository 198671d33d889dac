"""Pictures of simulated spins against the spins that they show, and pictures in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.microscope.job import MicroscopeImages
from rayspin.jobs.microscope.pictures import NAME, Pictures
from rayspin.jobs.stage import Context
from rayspin.physics import LABYRINTH, Degradation, effective_field
from rayspin.rundir import RunDir, Summary
from rayspin.storage import Catalog
from tests.support.damaged_arrays import NPZ

OPTICS = {"gain": [3.0, 3.0, 3.0], "offset": [10.0, 20.0, 30.0]}
KNOWN = {"limits": [27.0, 33.0]}
"""The levels of S_z under these optics."""


def stage(**table: Any) -> MicroscopeImages:
    return build(MicroscopeImages, {"kind": "microscope-images", **table}, "job")


def made(job: MicroscopeImages, folder: Path) -> tuple[Pictures, Summary]:
    run = RunDir.at(folder)
    job.check(run, {})
    with run.claimed(job.identity()):
        summary = job.run(run, Context())
    return Pictures.load(folder), summary


def z_alone(**more: Any) -> dict[str, Any]:
    return {"components": "z", **OPTICS, **more}


def test_a_picture_without_rotation_is_the_degraded_middle_of_the_sample(labyrinths: Path, tmp_path: Path) -> None:
    sample = Catalog.open(labyrinths).reader("test").read(np.array([1]))[0]
    job = stage(dataset=str(labyrinths), samples=2, size=20, scale=4, angle=0.0, microscope=z_alone(), levels=KNOWN)
    pictures, summary = made(job, tmp_path / "run")
    first = (128 - 80) // 2
    shown = sample[first : first + 80, first : first + 80]
    np.testing.assert_allclose(pictures.truth["spins"][1], shown, atol=1e-5)
    degraded = Degradation().apply(sample[None], 4)[0, first // 4 : first // 4 + 20, first // 4 : first // 4 + 20]
    np.testing.assert_allclose(pictures.coarse_NYXC[1, ..., 0], np.clip(degraded[..., 2], -1, 1), atol=1e-4)
    assert float(summary.figures["error of the measured spins"].split()[0]) < 1e-4
    assert "field" not in pictures.truth


def test_noise_is_that_of_the_counts_and_differs_between_pictures(labyrinths: Path, tmp_path: Path) -> None:
    # Levels so wide that no noise is beyond them, and S_z appears halved.
    wide = {"limits": [24.0, 36.0]}
    job = stage(dataset=str(labyrinths), samples=2, size=64, microscope=z_alone(counts=100.0), levels=wide)
    noisy, _ = made(job, tmp_path / "noisy")
    clean, _ = made(job.with_updates(microscope=job.microscope.with_updates(counts=None)), tmp_path / "clean")
    noise = 2 * (noisy.coarse_NYXC - clean.coarse_NYXC)
    np.testing.assert_allclose(noise.std(axis=(1, 2, 3)), 0.1, rtol=0.05)
    # Four standard errors of 4096 pixels.
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 4 / 64


@pytest.mark.parametrize(("angle", "tolerance"), [(90.0, 1e-4), (25.0, 0.03)])
def test_the_true_field_is_that_of_the_true_spins(
    labyrinths: Path, tmp_path: Path, angle: float, tolerance: float
) -> None:
    """Exchange and DMI are isotropic: exactly under quarter turns, and nearly for a texture of 21.6 sites."""
    pictures, _ = made(stage(dataset=str(labyrinths), size=70, angle=angle), tmp_path / "run")
    field = effective_field(pictures.truth["spins"][0], LABYRINTH.with_updates(boundary="open"))
    inside = slice(1, -1)
    np.testing.assert_allclose(field[inside, inside], pictures.truth["field"][0, inside, inside], atol=tolerance)


def test_a_magnified_picture_shows_a_longer_period(labyrinths: Path, tmp_path: Path) -> None:
    spins = [
        made(stage(dataset=str(labyrinths), size=80, angle=0.0, magnification=by), tmp_path / str(by))[0].truth["spins"]
        for by in (1.0, 2.0)
    ]
    # Every second point of the middle, between sites.
    middle = spins[0][0, 20:60, 20:60]
    between = (middle[:-1, :-1] + middle[1:, :-1] + middle[:-1, 1:] + middle[1:, 1:]) / 4
    small = spins[1][0].reshape(40, 2, 40, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small[:-1, :-1], middle[:-1, :-1], atol=0.03)
    assert np.abs(between - small[:-1, :-1]).mean() > np.abs(middle[:-1, :-1] - small[:-1, :-1]).mean()


def test_pictures_in_files_are_those_that_were_written(labyrinths: Path, tmp_path: Path) -> None:
    levels = {"background": "none", "smoothing": 0.0}
    own, _ = made(
        stage(dataset=str(labyrinths), size=40, microscope=OPTICS, levels=levels, normalize=True), tmp_path / "own"
    )
    files = [str(tmp_path / f"own/picture-0-{name}.tif") for name in "xyz"]
    read, summary = made(stage(files=files, levels=levels, normalize=True), tmp_path / "read")
    np.testing.assert_allclose(read.coarse_NYXC, own.coarse_NYXC, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(read.coarse_NYXC, axis=-1), 1, atol=1e-5)
    assert read.truth == {}
    assert read.hamiltonian is None
    assert summary.figures == {"pictures": "1 of 40 x 40 pixels, S_x, S_y, S_z"}


def test_the_middle_is_held_out(labyrinths: Path, tmp_path: Path) -> None:
    pictures, _ = made(stage(dataset=str(labyrinths), size=21, held_out=4), tmp_path / "run")
    hidden = ~pictures.trainable()[0]
    assert hidden.sum() == 16
    assert hidden[pictures.square()].all()
    assert pictures.square() == (slice(8, 12), slice(8, 12))
    whole, _ = made(stage(dataset=str(labyrinths), size=21), tmp_path / "whole")
    assert whole.trainable().all()
    assert whole.digest != pictures.digest


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "one of dataset and files"),
        ({"dataset": "data", "files": ["a.png"]}, "one of dataset and files"),
        ({"files": ["a.png", "b.png"]}, "there are 2"),
        ({"files": ["a.png"], "microscope": {"components": "z"}, "normalize": True}, "no length"),
        ({"files": ["a.png"], "microscope": {"components": "z"}}, "a.png is missing"),
    ],
)
def test_what_makes_no_picture_is_refused(table: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=problem):
        stage(**table).check(RunDir.at(tmp_path), {})


def test_pictures_larger_than_the_samples_are_refused_before_the_run(labyrinths: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="larger than the field, 128 x 128"):
        stage(dataset=str(labyrinths), size=110).check(RunDir.at(tmp_path), {})
    with pytest.raises(InputError, match="larger than the pictures, 60 x 60"):
        stage(dataset=str(labyrinths), size=60, held_out=61).check(RunDir.at(tmp_path), {})


def test_a_damaged_or_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no pictures"):
        Pictures.load(tmp_path)
    (tmp_path / NAME).write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="is damaged"):
        Pictures.load(tmp_path)
    np.savez_compressed(tmp_path / NAME, coarse=np.zeros((1, 8, 8, 3)))
    whole = (tmp_path / NAME).read_bytes()
    for damage in NPZ.values():
        (tmp_path / NAME).write_bytes(damage(whole))
        with pytest.raises(InputError, match="is damaged"):
            Pictures.load(tmp_path)
