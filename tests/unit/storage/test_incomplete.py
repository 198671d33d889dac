"""Datasets that lack samples: refused by all that reads them, unless they are asked for as they are."""

from __future__ import annotations

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
def lacking(original: Path, tmp_path: Path) -> Path:
    """Finished, and its second shard is gone."""
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


def test_a_training_refuses_it_in_check_plan_and_run(lacking: Path, tmp_path: Path) -> None:
    stage, run = train(lacking), RunDir.at(tmp_path / "run")
    with pytest.raises(InputError, match=REFUSAL):
        stage.check(run, {})
    with pytest.raises(InputError, match=REFUSAL):
        stage.plan(run, {})
    with pytest.raises(InputError, match=REFUSAL):
        stage.run(run, Context())
    with pytest.raises(InputError, match=REFUSAL):
        stage.fit(lacking, tmp_path / "run")
    assert not run.path.exists()
    train(lacking, incomplete=True).check(run, {})


def test_an_evaluation_refuses_it(lacking: Path, tmp_path: Path) -> None:
    run = RunDir.at(tmp_path / "run")
    stage = evaluation(lacking, tmp_path)
    with pytest.raises(InputError, match=REFUSAL):
        stage.check(run, {})
    with pytest.raises(InputError, match=REFUSAL):
        stage.run(run, Context())
    evaluation(lacking, tmp_path, incomplete=True).check(run, {})


def test_a_sweep_refuses_it(lacking: Path, tmp_path: Path) -> None:
    run = RunDir.at(tmp_path / "run")

    def sweep(stage: TrainFcn) -> Tune:
        table = {"kind": "tune", "base": stage.to_table(), "space": {"training.seed": [1, 2]}}
        return Tune.model_validate(table)

    with pytest.raises(InputError, match=REFUSAL):
        sweep(train(lacking)).check(run, {})
    sweep(train(lacking, incomplete=True)).check(run, {})


def test_a_pipeline_makes_what_is_missing_before_the_next_stage(lacking: Path) -> None:
    """Its first stage ended once, and is not done any more."""
    run = RunDir.at(lacking)
    assert run.finished(GENERATE.identity()) is not None
    assert GENERATE.done(run) is None
    stages = {"data": JOB, "train": train(Path("@data")).to_table()}
    pipeline = Pipeline.model_validate({"kind": "pipeline", "stages": stages})
    with pytest.raises(InputError, match="stage 'data' has not finished"):
        pipeline.run_stage("train", RunDir.at(lacking.parent), Context(), lambda stage, run: Summary("", {}))
    datasets.make(GENERATE, lacking)
    assert GENERATE.done(run) is not None
    assert execute(GENERATE, run, Context()).title == "dataset"


def test_jobs_that_do_not_ask_for_it_are_the_jobs_they_were(lacking: Path) -> None:
    assert "incomplete" not in train(lacking).to_table()
    assert "incomplete" not in train(lacking, incomplete=False).identity()
    assert train(lacking, incomplete=True).identity()["incomplete"] is True
    base = Tune.model_validate(
        {"base": train(lacking).to_table() | {"kind": "train-fcn"}, "space": {"training.seed": [1]}}
    )
    assert "incomplete" not in base.identity()["base"]
    assert '"incomplete"' in str(json_schema()).replace("'", '"')


def test_a_dataset_that_is_not_finished_is_refused_too(lacking: Path, tmp_path: Path) -> None:
    """The ledger has the job, too: what it asks for and no shard holds is missing."""
    ledger = lacking / "ledger.jsonl"
    lines = [line for line in ledger.read_text().splitlines(keepends=True) if '"first_sample": 8,' not in line]
    ledger.write_text("".join(lines))
    with pytest.raises(InputError, match=REFUSAL):
        train(lacking).check(RunDir.at(tmp_path / "run"), {})


def test_open_dataset_warns_and_names_what_is_missing(lacking: Path) -> None:
    said = rf"^{lacking}: 8 of 16 samples are missing \(8 to 15\); generate them with rayspin repair {lacking}$"
    with pytest.warns(UserWarning, match=said) as caught:
        view = open_dataset(lacking)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(view["sample"], np.arange(8))
    with pytest.raises(InputError, match=REFUSAL):
        open_dataset(lacking, strict=True)


def test_open_dataset_says_nothing_of_a_whole_one(original: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_dataset(original, strict=True).sizes["sample"] == 16
        assert open_dataset(original).sizes["sample"] == 16


def test_show_tells_what_is_missing(lacking: Path) -> None:
    _, rows = describe(lacking, None)
    assert rows["samples"] == "8 of 16"
    assert rows["incomplete"].startswith("8 of 16 samples are missing (8 to 15)")


def test_gaps_are_named_up_to_a_few(original: Path) -> None:
    catalog = Catalog.open(original)
    job = {"samples": 100, "size": [16, 16], "seed": 5}
    partial = Catalog(catalog.path, catalog.records[:1])
    partial.__dict__["job"] = job
    assert partial.lacking == "92 of 100 samples are missing (8 to 99)"
