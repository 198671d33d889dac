"""A run resumes with its dataset, even if the path is spelled differently or the dataset was moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayspin.errors import InputError
from rayspin.jobs.evaluate.estimation import EvaluateFcn
from rayspin.jobs.generate.job import make_here
from rayspin.jobs.pipeline import Pipeline
from rayspin.jobs.stage import Context, Stage, execute
from rayspin.jobs.train.job import TrainFcn
from rayspin.rundir import RunDir, Summary
from rayspin.training import BEST
from tests.support import datasets

pytestmark = pytest.mark.timeout(120)

DATA = datasets.labyrinths(8, 16, schedule={"sweeps": 5, "quench_sweeps": 5}, splits={"test": 2, "validation": 2})
NETWORK = {"encoder_filters": [2, 2], "decoder_filters": [2, 2]}
TRAINING = {"epochs": 1, "batch_size": 2}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two datasets of different seeds, `one` and `two`."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("one", 1), ("two", 2)):
        data = DATA.with_updates(seed=seed)
        with RunDir.at(Path(name)).claimed(data.identity()):
            make_here(data, Path(name))
    return tmp_path


def training(dataset: str) -> TrainFcn:
    return TrainFcn.model_validate({"dataset": dataset, "network": NETWORK, "training": TRAINING})


def trained(dataset: str, *, ended: bool = False) -> RunDir:
    """Train for one epoch on a dataset and return the folder."""
    run, job = RunDir.at(Path("run")), training(dataset)
    with run.claimed(job.identity()):
        job.fit(Path(dataset), run.path)
        if ended:
            run.finish(Summary("train-fcn", {"epochs": "1"}))
    return run


def other_spellings(here: Path) -> list[str]:
    (here / "link").symlink_to("one")
    return ["./one", "one/", "two/../one", str(here / "one"), "link"]


def test_another_spelling_of_the_same_dataset_is_the_same_training(here: Path) -> None:
    run = trained("one", ended=True)
    asked = run.job_file.read_text()
    for spelling in other_spellings(here):
        training(spelling).check(run, {})
        assert execute(training(spelling), run, Context()) == Summary("train-fcn", {"epochs": "1"})
    assert run.job_file.read_text() == asked


def test_a_dataset_that_was_moved_is_the_same_by_its_digest(here: Path) -> None:
    run = trained("one", ended=True)
    (here / "one").rename(here / "moved")
    training("moved").check(run, {})
    assert execute(training("moved"), run, Context()).figures == {"epochs": "1"}


def test_another_dataset_is_another_training_even_where_the_first_has_gone(here: Path) -> None:
    run = trained("one")
    with pytest.raises(InputError, match=r"dataset is 'one' there and 'two' in the job"):
        training("two").check(run, {})
    (here / "one").rename(here / "moved")
    with pytest.raises(InputError, match=r"dataset is 'one' there and 'two' in the job"):
        training("two").check(run, {})


def test_before_its_first_epoch_a_training_goes_by_the_place_of_its_dataset(here: Path) -> None:
    run = RunDir.at(Path("run"))
    with run.claimed(training("one").identity()):
        pass
    training("./one").check(run, {})
    (here / "one").rename(here / "moved")
    with pytest.raises(InputError, match="holds the run of another job"):
        training("moved").check(run, {})


def test_another_spelling_is_the_same_evaluation_and_the_same_pipeline(here: Path) -> None:
    weights = trained("one").path / BEST

    def evaluation(dataset: str, weights: Path) -> Stage:
        return EvaluateFcn.model_validate({"dataset": dataset, "weights": str(weights)})

    def pipeline(dataset: str) -> Pipeline:
        stage = {"kind": "train-fcn", "dataset": dataset, "network": NETWORK, "training": TRAINING}
        return Pipeline.model_validate({"stages": {"train": stage}})

    evaluated, staged = RunDir.at(Path("evaluated")), RunDir.at(Path("staged"))
    with evaluated.claimed(evaluation("one", weights).identity()):
        evaluated.finish(Summary("evaluation", {}))
    with staged.claimed(pipeline("one").identity()), staged.child("train").claimed(training("one").identity()):
        staged.finish(Summary("pipeline", {}))
    for spelling in other_spellings(here):
        again = evaluation(spelling, here / weights)
        again.check(evaluated, {})
        assert execute(again, evaluated, Context()) == Summary("evaluation", {})
        pipeline(spelling).check(staged, {})
        assert execute(pipeline(spelling), staged, Context()) == Summary("pipeline", {})
    with pytest.raises(InputError, match="holds the run of another job"):
        evaluation("two", weights).check(evaluated, {})


def test_a_pipeline_is_refused_in_the_folder_of_another_job(here: Path) -> None:
    stages = {"train": {"kind": "train-fcn", "dataset": "one", "network": NETWORK, "training": TRAINING}}
    with pytest.raises(InputError, match="kind is 'generate' there and 'pipeline' in the job"):
        Pipeline.model_validate({"stages": stages}).check(RunDir.at(here / "one"), {})
