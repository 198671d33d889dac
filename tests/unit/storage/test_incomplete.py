"""Datasets with missing samples, which jobs refuse unless they accept incomplete datasets."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.job import json_schema
from rayspin.jobs.evaluate.estimation import EvaluateFcn
from rayspin.jobs.generate.job import Generate, make_here
from rayspin.jobs.pipeline import Pipeline
from rayspin.jobs.stage import Context, execute
from rayspin.jobs.train.job import TrainFcn
from rayspin.jobs.tune.job import Tune
from rayspin.models import EffectiveFieldNetConfig, save_weights
from rayspin.rundir import RunDir, Summary
from rayspin.show import describe
from rayspin.storage import Catalog, open_dataset, shard_name
from tests.support import datasets

JOB = {
    "kind": "generate",
    "samples": 16,
    "size": 16,
    "seed": 5,
    "shard_samples": 8,
    "hamiltonian": "labyrinth",
    "schedule": {"sweeps": 5, "quench_sweeps": 5},
    "splits": {"test": 2, "validation": 2},
}
GENERATE = Generate.model_validate(JOB)
NETWORK = {"encoder_filters": [2, 2], "decoder_filters": [2, 3]}
REFUSAL = (
    r"8 of 16 samples are missing \(8 to 15\); generate them with rayspin repair .*data, or use the dataset as it is"
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "data"
    with RunDir.at(folder).claimed(GENERATE.identity()):
        RunDir.at(folder).finish(make_here(GENERATE, folder))
    return folder


@pytest.fixture
def incomplete_dataset(original: Path, tmp_path: Path) -> Path:
    """A finished dataset whose second shard was deleted."""
    folder = Path(shutil.copytree(original, tmp_path / "data"))
    (folder / shard_name(8)).unlink()
    return folder


def train(dataset: Path, **more: Any) -> TrainFcn:
    table = {"dataset": str(dataset), "training": {"batch_size": 2, "epochs": 1}, "network": NETWORK}
    return TrainFcn.model_validate(table | more)


def evaluation(dataset: Path, folder: Path, **more: Any) -> EvaluateFcn:
    weights = folder / "weights.safetensors"
    save_weights(weights, EffectiveFieldNetConfig.model_validate(NETWORK).build(), {})
    return EvaluateFcn.model_validate({"dataset": str(dataset), "weights": str(weights)} | more)


def test_training_refuses_an_incomplete_dataset(incomplete_dataset: Path, tmp_path: Path) -> None:
    stage, run = train(incomplete_dataset), RunDir.at(tmp_path / "run")
    with pytest.raises(InputError, match=REFUSAL):
        stage.check(run, {})
    with pytest.raises(InputError, match=REFUSAL):
        stage.plan(run, {})
    with pytest.raises(InputError, match=REFUSAL):
        stage.run(run, Context())
    with pytest.raises(InputError, match=REFUSAL):
        stage.fit(incomplete_dataset, tmp_path / "run")
    assert not run.path.exists()
    train(incomplete_dataset, incomplete=True).check(run, {})


def test_evaluation_refuses_an_incomplete_dataset(incomplete_dataset: Path, tmp_path: Path) -> None:
    run = RunDir.at(tmp_path / "run")
    stage = evaluation(incomplete_dataset, tmp_path)
    with pytest.raises(InputError, match=REFUSAL):
        stage.check(run, {})
    with pytest.raises(InputError, match=REFUSAL):
        stage.run(run, Context())
    evaluation(incomplete_dataset, tmp_path, incomplete=True).check(run, {})


def test_sweep_refuses_an_incomplete_dataset(incomplete_dataset: Path, tmp_path: Path) -> None:
    run = RunDir.at(tmp_path / "run")

    def sweep(stage: TrainFcn) -> Tune:
        table = {"kind": "tune", "base": stage.to_table(), "space": {"training.seed": [1, 2]}}
        return Tune.model_validate(table)

    with pytest.raises(InputError, match=REFUSAL):
        sweep(train(incomplete_dataset)).check(run, {})
    sweep(train(incomplete_dataset, incomplete=True)).check(run, {})


def test_pipeline_generates_missing_samples_before_the_next_stage(incomplete_dataset: Path) -> None:
    """The first stage finished once, and is not done since its dataset lost a shard."""
    run = RunDir.at(incomplete_dataset)
    assert run.finished(GENERATE.identity()) is not None
    assert GENERATE.done(run) is None
    stages = {"data": JOB, "train": train(Path("@data")).to_table()}
    pipeline = Pipeline.model_validate({"kind": "pipeline", "stages": stages})
    with pytest.raises(InputError, match="stage 'data' has not finished"):
        pipeline.run_stage("train", RunDir.at(incomplete_dataset.parent), Context(), lambda stage, run: Summary("", {}))
    datasets.make(GENERATE, incomplete_dataset)
    assert GENERATE.done(run) is not None
    assert execute(GENERATE, run, Context()).title == "dataset"


def test_default_of_incomplete_is_not_part_of_the_job(incomplete_dataset: Path) -> None:
    assert "incomplete" not in train(incomplete_dataset).to_table()
    assert "incomplete" not in train(incomplete_dataset, incomplete=False).identity()
    assert train(incomplete_dataset, incomplete=True).identity()["incomplete"] is True
    base = Tune.model_validate(
        {"base": train(incomplete_dataset).to_table() | {"kind": "train-fcn"}, "space": {"training.seed": [1]}}
    )
    assert "incomplete" not in base.identity()["base"]
    assert '"incomplete"' in str(json_schema()).replace("'", '"')


def test_unfinished_dataset_is_refused(incomplete_dataset: Path, tmp_path: Path) -> None:
    """The samples of the job, which the ledger contains, are missing if they are in no shard."""
    ledger = incomplete_dataset / "ledger.jsonl"
    lines = [line for line in ledger.read_text().splitlines(keepends=True) if '"first_sample": 8,' not in line]
    ledger.write_text("".join(lines))
    with pytest.raises(InputError, match=REFUSAL):
        train(incomplete_dataset).check(RunDir.at(tmp_path / "run"), {})


def test_open_dataset_warns_of_missing_samples(incomplete_dataset: Path) -> None:
    path = incomplete_dataset
    warning = rf"^{path}: 8 of 16 samples are missing \(8 to 15\); generate them with rayspin repair {path}$"
    with pytest.warns(UserWarning, match=warning) as caught:
        view = open_dataset(incomplete_dataset)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(view["sample"], np.arange(8))
    with pytest.raises(InputError, match=REFUSAL):
        open_dataset(incomplete_dataset, strict=True)


def test_open_dataset_of_a_complete_dataset_does_not_warn(original: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_dataset(original, strict=True).sizes["sample"] == 16
        assert open_dataset(original).sizes["sample"] == 16


def test_show_reports_missing_samples(incomplete_dataset: Path) -> None:
    _, rows = describe(incomplete_dataset, None)
    assert rows["samples"] == "8 of 16"
    assert rows["incomplete"].startswith("8 of 16 samples are missing (8 to 15)")


def test_titles_of_a_picture_are_the_numbers_of_its_samples(original: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(original, tmp_path / "data"))
    (folder / shard_name(0)).unlink()
    describe(folder, tmp_path / "data.svg")
    energies = Catalog.open(folder, incomplete=True).column("energy")
    titles = re.findall(r"\([a-h]\) (\d+: .*J)</text>", (tmp_path / "data.svg").read_text())
    assert titles == [f"{sample}: {energy:.4f} J" for sample, energy in zip(range(8, 16), energies)]


def test_missing_samples_are_listed_as_ranges(original: Path) -> None:
    catalog = Catalog.open(original)
    job = {"samples": 100, "size": [16, 16], "seed": 5}
    partial = Catalog(catalog.path, catalog.records[:1])
    partial.__dict__["job"] = job
    assert partial.lacking == "92 of 100 samples are missing (8 to 99)"
