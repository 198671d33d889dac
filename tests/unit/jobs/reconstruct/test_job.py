"""Reconstructions of datasets and of images in files: results, resumption, and what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin.config import build
from rayspin.errors import Incomplete, InputError
from rayspin.jobs.reconstruct import case
from rayspin.jobs.reconstruct.job import Reconstruct
from rayspin.jobs.reconstruct.ledger import NAME, progress
from rayspin.jobs.stage import Context, execute
from rayspin.jobs.train.job import TrainSr
from rayspin.metrics import mse
from rayspin.physics import LABYRINTH, Degradation, energy
from rayspin.reconstruction import MAPFit, reconstruct
from rayspin.rundir import RunDir
from rayspin.storage import Catalog, read_shard
from tests.support import datasets
from tests.support.damaged_arrays import NPZ
from tests.support.damaged_lines import damage

SHARES = [(0, 2), (2, 2), (4, 1)]
SHARD = "shard-00000002.nc"
FILES = ("fields.csv", "reconstruction.png", *(f"shard-{first:08d}.nc" for first, _ in SHARES))


def stage(**table: Any) -> Reconstruct:
    return build(Reconstruct, {"scale": 4, "shard_samples": 2, **table}, "")


def run(folder: Path, **table: Any) -> RunDir:
    made = RunDir.at(folder)
    job = stage(**table)
    job.check(made, {})
    execute(job, made, Context())
    return made


def spins(run: RunDir) -> np.ndarray:
    return np.concatenate([read_shard(path)[0]["spins"] for path in sorted(run.path.glob("shard-*.nc"))])


def truth(dataset: Path) -> np.ndarray:
    return Catalog.open(dataset).reader("test").read(np.arange(5))


def test_a_dataset_is_made_coarse_reconstructed_and_compared_with_its_truth(dispatcher, dataset, tmp_path):
    made = run(tmp_path / "run", dataset=str(dataset))
    fine = truth(dataset)
    coarse = Degradation().apply(fine, 4)
    expected = reconstruct(coarse, 4, "map", hamiltonian=LABYRINTH).spins
    np.testing.assert_allclose(spins(made), expected, atol=1e-5)
    values, attributes = read_shard(made.path / "shard-00000002.nc")
    np.testing.assert_allclose(values["coarse4"], coarse[2:4], atol=1e-6)
    np.testing.assert_allclose(values["energy"], energy(expected[2:4], LABYRINTH), atol=1e-6)
    assert values["sample"].tolist() == [2, 3]
    assert '"method": "map"' in attributes["job"]
    with (made.path / "fields.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    np.testing.assert_allclose([float(row["mse"]) for row in rows], mse(expected, fine), rtol=1e-2)
    # The recipe of the dataset is known, so its textures are found again.
    assert mse(expected, fine).max() < 1e-5
    assert max(float(row["misfit"]) for row in rows) < 1e-3


def test_a_resumed_run_repeats_no_shard_and_ends_with_the_same_bytes(dispatcher, dataset, tmp_path):
    table = {
        "dataset": str(dataset),
        "method": {"method": "projections", "options": {"start": "wiener-em"}},
        "learned_from": 3,
    }
    whole = run(tmp_path / "whole", **table)
    assert dispatcher.done == SHARES
    dispatcher.done, dispatcher.most = [], 1
    parts = RunDir.at(tmp_path / "parts")
    for done in (2, 4):
        with pytest.raises(Incomplete, match=f"{done} of 5 fields done"):
            execute(stage(**table), parts, Context())
    assert progress(parts, {})["fields"] == "4 of all done"
    (parts.path / "learned.npz").unlink()
    execute(stage(**table), parts, Context())
    assert dispatcher.done == SHARES
    for name in FILES:
        assert (parts.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    before = dispatcher.done.copy()
    execute(stage(**table), parts, Context())
    assert dispatcher.done == before


def test_damaged_lost_and_foreign_shards_are_made_again(dispatcher, dataset, tmp_path):
    table = {"dataset": str(dataset), "method": "fourier"}
    made = run(tmp_path / "run", **table)
    reference = {name: (made.path / name).read_bytes() for name in FILES}
    (made.path / FILES[2]).unlink()
    content = bytearray(reference[FILES[3]])
    content[-1000] ^= 1
    (made.path / FILES[3]).write_bytes(content)
    other = run(tmp_path / "other", **(table | {"method": "projections"}))
    (made.path / FILES[4]).write_bytes((other.path / FILES[4]).read_bytes())
    dispatcher.done = []
    execute(stage(**table), made, Context())
    assert dispatcher.done == SHARES
    assert {name: (made.path / name).read_bytes() for name in FILES} == reference


def test_other_inputs_are_not_taken_for_the_same(dispatcher, dataset, tmp_path):
    images = Degradation().apply(truth(dataset), 4)
    np.save(tmp_path / "images.npy", images)
    table = {"images": str(tmp_path / "images.npy"), "method": "fourier"}
    dispatcher.most = 2
    with pytest.raises(Incomplete):
        run(tmp_path / "run", **table)
    np.save(tmp_path / "images.npy", images[::-1])
    dispatcher.done, dispatcher.most = [], 100
    run(tmp_path / "run", **table)
    assert dispatcher.done == SHARES


@pytest.mark.parametrize("method", ["wiener-em", {"method": "map", "options": {"start": "wiener-em"}}])
def test_a_field_does_not_depend_on_the_size_of_shards(dispatcher, dataset, tmp_path, method):
    apart = run(tmp_path / "apart", dataset=str(dataset), method=method)
    together = run(tmp_path / "together", dataset=str(dataset), method=method, shard_samples=5)
    at_once = read_shard(together.path / FILES[2])[0]["spins"]
    np.testing.assert_allclose(spins(apart), at_once, atol=2e-4)
    if method == "wiener-em":
        expected = reconstruct(Degradation().apply(truth(dataset), 4), 4, method).spins
        np.testing.assert_allclose(at_once, expected, atol=1e-4)


@pytest.mark.parametrize("damage", NPZ)
def test_a_damaged_file_of_learned_values_is_made_again(tmp_path, damage):
    path = tmp_path / case.LEARNED
    learned = case.Learned(0.1, None, LABYRINTH, 2.0)
    learned.keep(path, "digest")
    assert case.Learned.kept(path, "digest") == learned
    with np.load(path) as file:
        np.savez_compressed(path, **dict(file))
    path.write_bytes(NPZ[damage](path.read_bytes()))
    assert case.Learned.kept(path, "digest") is None


def test_strengths_are_estimated_once(dispatcher, dataset, tmp_path):
    options = {"terms": ["dmi"], "rounds": 2}
    method = {"method": "map-fit", "options": options}
    made = run(tmp_path / "run", dataset=str(dataset), method=method, learned_from=3)
    coarse = Degradation().apply(truth(dataset), 4)
    estimated, other = (
        reconstruct(coarse[:count], 4, MAPFit(**options), hamiltonian=LABYRINTH).hamiltonian for count in (3, 5)
    )
    with np.load(made.path / "learned.npz") as learned:
        dmi = json.loads(str(learned["hamiltonian"]))["dmi"]
    assert dmi == pytest.approx(estimated.dmi, rel=5e-5) != other.dmi
    expected = reconstruct(coarse, 4, MAPFit().map, hamiltonian=estimated).spins
    np.testing.assert_allclose(spins(made), expected, atol=1e-4)


def test_wiener_takes_its_spectrum_from_training_samples(dispatcher, dataset, tmp_path):
    from rayspin.reconstruction import spectrum

    made = run(tmp_path / "run", dataset=str(dataset), method="wiener")
    fine = Catalog.open(dataset).reader("train").read([0, 1])
    coarse = Degradation().apply(truth(dataset), 4)
    expected = reconstruct(coarse, 4, "wiener", spectrum=spectrum(fine)).spins
    np.testing.assert_allclose(spins(made), expected, atol=1e-5)


def test_images_in_files_have_no_truth(dispatcher, dataset, tmp_path):
    coarse = Degradation().apply(truth(dataset), 4)
    np.savez(tmp_path / "images.npz", coarse=coarse, time=np.arange(5))
    made = run(tmp_path / "run", images=str(tmp_path / "images.npz"), hamiltonian="labyrinth")
    np.testing.assert_allclose(spins(made), reconstruct(coarse, 4, "map", hamiltonian=LABYRINTH).spins, atol=1e-5)
    header = (made.path / "fields.csv").read_text().splitlines()[0]
    assert header.startswith("sample,misfit,energy,torque")
    assert "mse" not in header


@pytest.mark.parametrize("noise", [0.1, "estimated"])
def test_noise_is_known_or_estimated_once(dispatcher, dataset, tmp_path, noise):
    """Noise of the variance alpha^2 / 3 in each component, of which 9600 numbers tell the size to about a percent."""
    microscope = {"counts": 3 / 0.1**2}
    made = run(tmp_path / "run", dataset=str(dataset), microscope=microscope, noise=noise)
    with np.load(made.path / "learned.npz") as learned:
        assert float(learned["noise"]) == pytest.approx(0.1, rel=1e-6 if noise == 0.1 else 0.3)
        assert learned["spectrum"].shape == (32, 32, 3, 3)
    ignorant = run(tmp_path / "ignorant", dataset=str(dataset), microscope=microscope, any_length=True)
    fine = truth(dataset)
    assert mse(spins(made), fine).mean() < mse(spins(ignorant), fine).mean()


def test_fields_with_noise_do_not_depend_on_the_size_of_shards(dispatcher, dataset, tmp_path):
    noisy = {"dataset": str(dataset), "microscope": {"counts": 3 / 0.1**2}, "noise": 0.1}
    whole = run(tmp_path / "whole", **noisy, shard_samples=8)
    with np.load(whole.path / "learned.npz") as learned:
        assert 0 < float(learned["weight"]) < 1000
    np.testing.assert_allclose(spins(run(tmp_path / "parts", **noisy, shard_samples=1)), spins(whole), atol=1e-5)


def test_one_component_is_stored_with_its_gaps(dispatcher, dataset, tmp_path):
    made = run(tmp_path / "run", dataset=str(dataset), microscope={"components": "z"})
    coarse = read_shard(made.path / FILES[2])[0]["coarse4"]
    assert np.isnan(coarse[..., :2]).all()
    np.testing.assert_allclose(coarse[..., 2], Degradation().apply(truth(dataset)[:2], 4)[..., 2], atol=1e-6)
    with (made.path / "fields.csv").open() as stream:
        assert max(float(row["misfit"]) for row in csv.DictReader(stream)) < 0.01


def test_trust_is_stored_and_told(dispatcher, dataset, tmp_path, monkeypatch):
    def trusting(coarse: Any, scale: int, *arguments: Any, **known: Any) -> Any:
        found = reconstruct(coarse, scale, "fourier")
        beyond = np.zeros(found.trust.shape, bool)
        beyond[:, :8] = True
        return replace(found, trust=np.full_like(found.trust, 0.06), extrapolated=beyond)

    monkeypatch.setattr(case, "reconstruct_apart", trusting)
    made = run(tmp_path / "run", dataset=str(dataset), method="fourier")
    assert (read_shard(made.path / FILES[2])[0]["trust"] == np.float32(0.06)).all()
    with (made.path / "fields.csv").open() as stream:
        row = next(csv.DictReader(stream))
    assert (float(row["predicted_error"]), float(row["extrapolated"])) == pytest.approx((0.02, 0.25))


def test_noise_belongs_to_the_sample(dispatcher, dataset, tmp_path):
    table = {"dataset": str(dataset), "method": "fourier", "microscope": {"counts": 1e5, "gain": [0.5, 0.5, 0.5]}}
    made, other = (run(tmp_path / name, **table, shard_samples=n) for name, n in (("a", 2), ("b", 5)))
    images = [read_shard(made.path / f"shard-{first:08d}.nc")[0]["coarse4"] for first, _ in SHARES]
    np.testing.assert_array_equal(np.concatenate(images), read_shard(other.path / FILES[2])[0]["coarse4"])
    loud = {"counts": 100.0}
    assert spins(run(tmp_path / "c", **(table | {"microscope": loud, "any_length": True}))).shape == (5, 32, 32, 3)
    error = np.concatenate(images) - 0.5 * Degradation().apply(truth(dataset), 4)
    assert error.std() == pytest.approx(0.5 / np.sqrt(1e5), rel=0.1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "dataset: one of dataset and images is needed"),
        ({"dataset": "a", "images": "b"}, "dataset: one of dataset and images is needed"),
        ({"images": "a", "microscope": {}}, "microscope: images are coarse already"),
        ({"images": "a", "method": "wiener"}, 'fine: the method "wiener" needs fine fields'),
        ({"images": "a", "method": "maps"}, "method.method: unknown method 'maps'; did you mean 'map'"),
        ({"images": "a", "method": {"method": "map", "options": {"wait": 1}}}, "method.options: wait: unknown key"),
        ({"images": "a", "method": {"weight": 1}}, "method.weight: unknown key"),
        ({"images": "a", "method": {}}, "method.method: missing key"),
        ({"images": "a", "method": 3}, "method: 3 is "),
        ({"images": "a", "method": {"method": "network", "options": {"a": 1}}}, "method.options: .* has none"),
        ({"images": "a", "noise": "loud"}, "noise"),
        ({"images": "a", "method": "network"}, "weights: .* needs a network"),
        ({"images": "a", "method": "fourier", "weights": "b"}, "weights: the method 'fourier' takes no network"),
    ],
)
def test_jobs_that_make_no_sense_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        stage(**table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"scale": 5}, "degradation: 32 x 32 sites don't divide into blocks of 5"),
        ({"samples": 6}, "samples: 6 fields requested, and there are 5"),
        ({"degradation": {"mosaic": 2}, "method": "fourier"}, "degradation: it has no inverse at scale 4"),
        ({"microscope": {"degradation": {"mosaic": 3}}}, "degradation: 32 x 32 sites don't divide into blocks of 12"),
        ({"hamiltonian": {"dmi": 0.3, "boundary": "open"}}, "hamiltonian: its boundary is open"),
        ({"hamiltonian": {"exchange": 0.0}}, "hamiltonian: all its terms are zero"),
        ({"split": "validation", "samples": 2}, "samples: 2 fields requested, and there are 1"),
        ({"fine": "nowhere"}, "nowhere: is not a dataset"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors: "),
        ({"weights": "pretrained:labyrinth-field"}, "weights: the network of .* is of the wrong kind"),
        ({"weights": "pretrained:labyrinth-x8", "method": "network"}, "weights: the network of .* has scale 8, not 4"),
        ({"weights": "pretrained:labyrinth-x4", "hamiltonian": {"exchange": 0.0}}, "hamiltonian: all its terms are"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_anything_is_written(dataset, tmp_path, table, message):
    with pytest.raises(InputError, match=message):
        stage(dataset=str(dataset), **table).check(RunDir.at(tmp_path / "run"), {})
    assert not (tmp_path / "run").exists()


def test_images_that_cannot_be_used_are_refused(tmp_path):
    np.save(tmp_path / "long.npy", np.full((1, 8, 8, 3), 1.0))
    with pytest.raises(
        InputError,
        match=r"coarse spins: have lengths up to 1\.732, above 1; give the noise, set any_length, .*calibrate",
    ):
        stage(images=str(tmp_path / "long.npy"), method="fourier").check(RunDir.at(tmp_path / "run"), {})
    np.save(tmp_path / "short.npy", np.full((1, 8, 8, 3), 0.1))
    with pytest.raises(InputError, match="hamiltonian: the method needs one"):
        stage(images=str(tmp_path / "short.npy")).check(RunDir.at(tmp_path / "run"), {})


def test_torn_lines_of_the_ledger_are_no_shards(dispatcher, dataset, tmp_path):
    table = {"dataset": str(dataset), "method": "fourier"}
    dispatcher.most = 1
    with pytest.raises(Incomplete):
        run(tmp_path / "run", **table)
    with (tmp_path / "run" / NAME).open("a") as stream:
        stream.write('{"first": 2, "count": 2, "dig')
    dispatcher.done, dispatcher.most = [], 100
    run(tmp_path / "run", **table)
    assert dispatcher.done == SHARES[1:]


def test_damaged_lines_of_the_ledger_are_no_shards(dispatcher, dataset, tmp_path):
    table = {"dataset": str(dataset), "method": "fourier"}
    made = run(tmp_path / "run", **table)
    (line, *_) = (made.path / NAME).read_text().splitlines()
    entry = json.loads(line)
    damage(
        made.path / NAME, "first", "digest", "seconds", "file", "first_sample", "count", "bytes", "sha256", "columns"
    )
    with (made.path / NAME).open("a") as stream:
        for changed in ({"file": "../" + entry["file"]}, {"rows": entry["rows"][:1]}, {"rows": [[1], [2]]}):
            stream.write(json.dumps(entry | changed) + "\n")
    assert progress(made, {}) == {"fields": "0 of all done"}
    assert stage(**table).plan(made, {}).pieces == len(SHARES)
    # No shard is known any more that could have changed since the run finished.
    assert stage(**table).done(made) is not None
    made.summary_file.unlink()
    dispatcher.done = []
    execute(stage(**table), made, Context())
    assert dispatcher.done == SHARES
    assert progress(made, {})["fields"] == "5 of all done"


@pytest.mark.parametrize(
    "table",
    [
        {"method": "map"},
        {"method": "wiener"},
        {"method": "network", "weights": "@network"},
    ],
)
def test_a_plan_costs_fields_that_earlier_stages_make(dispatcher, dataset, table, tmp_path):
    samples = datasets.labyrinths(8, 32, splits={"test": 5, "validation": 1})
    network = build(TrainSr, {"dataset": "@samples", "network": {"scale": 4}, "training": {"epochs": 1}}, "")
    job = stage(dataset="@samples", **table)
    plan = job.plan(RunDir.at(tmp_path / "pipeline/run"), {"samples": samples, "network": network})
    assert plan.core_seconds > 0
    assert plan.figures["fields"] == "5 of 32 x 32, 5 left"
    assert plan.pieces == 3


def test_a_plan_counts_shards_of_the_same_data_only(dispatcher, dataset, tmp_path):
    made = run(tmp_path / "run", dataset=str(dataset), method="fourier")
    job = stage(dataset=str(dataset), method="fourier")
    assert job.plan(made, {}).figures["fields"] == "5 of 32 x 32, 0 left"
    (made.path / SHARD).unlink()
    assert job.plan(made, {}).figures["fields"] == "5 of 32 x 32, 2 left"
