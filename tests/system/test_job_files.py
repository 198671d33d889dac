"""The smoke jobs of all kinds run in one Ray session, and their results are correct."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image

from rayspin import job
from rayspin.analysis.estimation import evaluate_estimation
from rayspin.execution.session import Session
from rayspin.job import KINDS, Context
from rayspin.jobs.evaluate.estimation import EvaluateFcn
from rayspin.models import EffectiveFieldNet, FieldUNet, SuperResolutionNet, apply, load_weights
from rayspin.rundir import Summary
from rayspin.show import describe
from rayspin.storage import Catalog, open_dataset
from rayspin.training import read_metrics
from tests.support.repository import SMOKE

# The first test waits for all jobs, which take four minutes on two idle cores.
pytestmark = pytest.mark.timeout(1800)

EXPERIMENTS = ["energy_trace", "restoration", "generation", "external_field"]
ORDER = ["generate", "train_fcn", "train_sr", "evaluate_fcn", "evaluate_sr", *EXPERIMENTS, "tune", "pipeline"]
ORDER += ["train_field_unet", "cross_feeding", "noise_response", "reconstruct", "robustness"]
ORDER += ["microscope_images", "microscope", "train_tiles"]


@pytest.fixture(scope="module")
def summaries(ray_session: Session, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    """The summaries of all smoke jobs, run in order in one folder as described in their comments."""
    folder = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield {name: run(name, ray_session) for name in ORDER}


def run(name: str, session: Session) -> Summary:
    path = SMOKE / f"{name}.toml"
    return job.run(job.load(path), job.default_out(path), Context(session))


def test_each_kind_of_job_has_a_smoke_job() -> None:
    assert {path.stem for path in SMOKE.glob("*.toml")} == set(ORDER)
    assert {tomllib.loads((SMOKE / f"{name}.toml").read_text())["kind"] for name in ORDER} == set(KINDS)


def test_finished_jobs_return_their_summary_without_ray(summaries: dict[str, Summary]) -> None:
    class NoRay(Session):
        def ray(self) -> object:  # type: ignore[override]
            raise AssertionError("a finished job must not start Ray")

    for name in ORDER:
        assert run(name, NoRay()) == summaries[name]


def test_trained_networks_are_loaded_from_their_files(summaries: dict[str, Summary]) -> None:
    assert isinstance(load_weights(Path("runs/train_fcn/weights.safetensors")), EffectiveFieldNet)
    network = load_weights(Path("runs/train_sr/best.safetensors"))
    assert isinstance(network, SuperResolutionNet)
    assert network.config.scale == 4
    lines = Path("runs/train_fcn/metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["training_loss"] for line in lines]
    assert len(losses) == 2
    assert losses[1] < losses[0]


def test_a_training_mixes_datasets_and_keeps_what_its_network_gives(summaries: dict[str, Summary]) -> None:
    folder = Path("runs/train_field_unet")
    network = load_weights(folder / "train" / "best.safetensors")
    assert isinstance(network, FieldUNet)
    assert network.output.isotropic == 4
    spins = Catalog.open(folder / "labyrinths").reader("validation").read(np.arange(2))
    np.testing.assert_allclose(network.field(spins), apply(network, spins) + 4 * spins, atol=1e-6)
    assert len(read_metrics(folder / "train")) == 2


def test_evaluation_does_not_depend_on_the_distribution_of_fields(
    summaries: dict[str, Summary], ray_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation of one field per item gives the same table as evaluation of all fields in this process."""
    monkeypatch.setattr(EvaluateFcn, "share_samples", 1)
    job.run(job.load(SMOKE / "evaluate_fcn.toml"), Path("runs/in_shares"), Context(ray_session))
    network = load_weights(Path("runs/train_fcn/best.safetensors"))
    reader = Catalog.open(Path("runs/generate")).reader("test")
    expected = evaluate_estimation(network, reader.read(np.arange(len(reader))), reader.hamiltonian).rows()
    assert len(expected) > 1
    for folder in ("evaluate_fcn", "in_shares"):
        with Path(f"runs/{folder}/estimation.csv").open() as stream:
            rows = [row for row in csv.DictReader(stream) if row["estimator"] == "network"]
        assert [row["sample"] for row in rows] == [str(n) for n in range(len(expected))]
        assert [pytest.approx(row, rel=1e-4) for row in expected] == [
            {name: float(row[name]) for name in expected[0]} for row in rows
        ]


def test_tables_contain_the_published_figures(summaries: dict[str, Summary]) -> None:
    with Path("runs/evaluate_sr/resolution.csv").open() as stream:
        rows = {row["method"]: row for row in csv.DictReader(stream) if row["scale"] == "4"}
    assert (rows["network"]["published_mse"], rows["network"]["published_correlation"]) == ("0.0016", "0.9976")
    assert rows["fourier"]["published_mse"] == ""
    assert float(rows["bicubic"]["raw_mse_mean"]) < float(rows["bicubic (published)"]["raw_mse_mean"])
    assert summaries["evaluate_fcn"].figures["energy agreement"].endswith("; published: 99.95 %)")


def test_recursive_process_removes_noise(summaries: dict[str, Summary]) -> None:
    with Path("runs/restoration/restoration.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["damage"] == "noise" and row["estimator"] == "network"]
    energies = np.array([[float(row["energy"]) for row in rows if row["step"] == str(step)] for step in range(4)])
    assert energies.shape == (4, 2)
    # Samples with noise of amplitude 2.5 have little order, and the output of a network is smoother.
    assert (energies[0] > -0.5).all()
    assert (energies[-1] < -1.5).all()


def test_reconstructions_are_compared_with_their_truth(summaries: dict[str, Summary]) -> None:
    with Path("runs/reconstruct/fields.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["sample"] for row in rows] == ["0", "1", "2", "3"]
    assert max(float(row["mse"]) for row in rows) < 0.05
    with Path("runs/robustness/robustness.csv").open() as stream:
        cases = list(dict.fromkeys(row["case"] for row in csv.DictReader(stream)))
    assert cases == ["right assumptions", "dmi of the wrong sign"]
    assert cases == list(summaries["robustness"].figures)[: len(cases)]


def test_pictures_are_compared_with_what_they_show(summaries: dict[str, Summary]) -> None:
    assert summaries["microscope_images"].figures["pictures"] == "2 of 20 x 20 pixels, S_z"
    with Path("runs/microscope/microscope.csv").open() as stream:
        fields = list(csv.DictReader(stream))
    assert [(row["picture"], row["method"]) for row in fields] == [
        ("0", "network"), ("0", "c S"), ("1", "network"), ("1", "c S"),
    ]  # fmt: skip
    with Path("runs/train_tiles/region/microscope.csv").open() as stream:
        errors = {row["method"]: float(row["mse_z"]) for row in csv.DictReader(stream)}
    assert min(errors, key=errors.__getitem__) == "map"


def test_sweep_has_every_point_of_its_grid(summaries: dict[str, Summary]) -> None:
    with Path("runs/tune/trials.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    points = {(row["network.scale"], row["objective.noise_amplitude"]) for row in rows}
    assert points == {("4", "0.0"), ("4", "0.2"), ("8", "0.0"), ("8", "0.2")}
    assert len({row["trial"] for row in rows}) == 4
    best = min(rows, key=lambda row: float(row["validation_loss"]))
    assert summaries["tune"].figures["best network.scale"] == best["network.scale"]


def test_larger_grid_runs_only_its_new_points(summaries: dict[str, Summary], ray_session: Session) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path("runs/tune/trials").glob("*/checkpoint.pt")}
    table = tomllib.loads((SMOKE / "tune.toml").read_text())
    table["space"]["objective.noise_amplitude"] = [0.0, 0.2, 0.4]
    larger = Path("larger.toml")
    larger.write_text(tomli_w.dumps(table))
    job.run(job.load(larger), Path("runs/tune"), Context(ray_session))
    after = {path: path.stat().st_mtime_ns for path in Path("runs/tune/trials").glob("*/checkpoint.pt")}
    assert len(after) == 6
    assert before.items() < after.items()


def test_stages_of_a_pipeline_are_separate_runs(summaries: dict[str, Summary]) -> None:
    assert [part.title for part in summaries["pipeline"].parts] == ["dataset", "train-fcn", "evaluation"]
    assert open_dataset("runs/pipeline/generate").sizes["sample"] == 16
    for stage in ("generate", "train", "evaluate"):
        title, rows = describe(Path("runs/pipeline") / stage, None)
        assert title == ("dataset" if stage == "generate" else f"run of a {stage}-fcn job"), rows


@pytest.mark.parametrize(
    "path",
    [
        "runs/generate",
        "runs/generate/shard-00000008.nc",
        "runs/train_fcn",
        "runs/train_fcn/best.safetensors",
        "runs/train_sr/best.safetensors",
        "runs/tune",
        "runs/pipeline",
    ],
)
def test_show_describes_and_draws_each_kind_of_result(summaries: dict[str, Summary], path: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    _, rows = describe(Path(path), picture)
    assert rows
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert min(pixels.shape[:2]) > 100
    # The picture is not blank: it has many colors.
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_all_pictures_of_all_summaries_exist(summaries: dict[str, Summary]) -> None:
    for name, summary in summaries.items():
        for picture in summary.pictures:
            assert (Path("runs") / name / picture).stat().st_size > 1000
