"""Further datasets of a training: which may be mixed, how they are found again, and what depends on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.pipeline import Pipeline
from rayspin.jobs.stage import Context, execute
from rayspin.jobs.train.job import TrainFcn, TrainSr
from rayspin.jobs.tune.job import Tune
from rayspin.jobs.tune.schedulers import Segment
from rayspin.jobs.tune.segments import SegmentRunner
from rayspin.models import FieldUNetConfig, SuperResolutionNetConfig, SuperResolutionUNetConfig, weights_info
from rayspin.rundir import RunDir, Summary
from rayspin.storage import Catalog
from rayspin.training import BEST, read_metrics
from tests.support import datasets

pytestmark = pytest.mark.timeout(120)

SHORT = {"sweeps": 5, "quench_sweeps": 5}
SPLITS = {"test": 0, "validation": 2}
FIELDS = {"hamiltonian.external_field": [[0.0, 0.0, 0.03], [0.0, 0.0, 0.09]]}
NETWORK = {"architecture": "u-net", "patch": 2, "filters": [2, 2]}


def labyrinths(size: Any = 16, **more: Any) -> Any:
    return datasets.labyrinths(6, size, **{"schedule": SHORT, "splits": SPLITS, **more})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the datasets `main`, without a field, and `fields`, in two fields."""
    monkeypatch.chdir(tmp_path)
    datasets.make(labyrinths(), Path("main"))
    datasets.make(labyrinths(seed=1, grid=FIELDS), Path("fields"))
    return tmp_path


def training(**further: float) -> TrainFcn:
    table = {
        "dataset": "main",
        "further_datasets": further,
        "network": NETWORK,
        "objective": {"target": "deviation"},
        "training": {"epochs": 1, "batch_size": 2},
    }
    return build(TrainFcn, table, "")


FINE_UNET = {"architecture": "u-net", "scale": 4, "start": "fourier", "patch": 2, "filters": [2, 2]}


def training_for_fine_spins(network: Any = FINE_UNET, **tables: Any) -> TrainSr:
    table = {
        "dataset": "main",
        "network": network,
        "training": {"epochs": 1, "batch_size": 2, **tables.pop("training", {})},
        **tables,
    }
    return build(TrainSr, table, "")


def trained(**further: float) -> RunDir:
    """Train for one epoch in this process and return the folder of the finished run."""
    run, job = RunDir.at(Path("run")), training(**further)
    with run.claimed(job.identity()):
        job.located(run).fit(Path("main"), run.path)
        run.finish(Summary("train-fcn", {"epochs": "1"}))
    return run


def test_a_dataset_in_several_external_fields_is_taken_and_recorded(here: Path) -> None:
    training(fields=0.5).check(RunDir.at(Path("other")), {})
    data = weights_info(trained(fields=0.5).path / BEST)["provenance"]["data"]
    digest = Catalog.open(here / "fields").reader().digest
    assert data["further"] == [{"samples": 4, "share": 0.5, "digest": digest}]
    assert data["hamiltonian"]["external_field"] == [0.0, 0.0, 0.0]
    assert "further_datasets" not in training().identity()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            labyrinths(hamiltonian={"dmi": 0.3, "anisotropy": 0.1}),
            "differs from that of the dataset in anisotropy; use",
        ),
        (labyrinths(grid={"hamiltonian.dmi": [0.3, 0.2]}), "differs from that of the dataset in dmi; use a dataset"),
        (labyrinths(size=(16, 32)), "lattices of 16 x 16 and 16 x 32 sites can't be mixed; use datasets of one size"),
        (labyrinths(splits={"test": 4, "validation": 2}), "has no training samples; generate more samples"),
        (labyrinths(hamiltonian={"dmi": 0.3, "boundary": "open"}), "have open boundaries"),
    ],
)
def test_datasets_that_can_not_be_mixed_are_refused(here: Path, data: Any, message: str) -> None:
    stages = {"other": data, "main": labyrinths()}
    with pytest.raises(InputError, match=message) as error:
        training(**{"@other": 0.5}).check(RunDir.at(here / "run"), stages)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ({"fields": 0.6, "main": 0.5}, "further_datasets: the shares sum to 1.1; reduce them"),
        ({"fields": 0.0}, "further_datasets.fields: 0.0 is invalid"),
        ({"fields": 0.1, "./fields": 0.1}, "further_datasets: the same dataset is named twice"),
        ({"@fields": 0.1}, "no earlier stage '@fields' generates a dataset"),
        ({"none": 0.1}, "none: is not a dataset"),
    ],
)
def test_further_datasets_that_are_none_are_refused(here: Path, further: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        training(**further).check(RunDir.at(here / "run"), {})


def test_a_stage_depends_on_the_further_datasets_that_it_names() -> None:
    stages = {
        "main": labyrinths(),
        "unused": labyrinths(seed=2),
        "fields": labyrinths(seed=1, grid=FIELDS),
        "train": training(**{"@fields": 0.3}).with_updates(dataset="@main"),
    }
    pipeline = Pipeline.model_validate({"stages": {name: stage.to_table() for name, stage in stages.items()}})
    assert pipeline.needs()["train"] == ("main", "fields")


def test_further_datasets_that_are_spelled_otherwise_or_were_moved_are_the_same(here: Path) -> None:
    run = trained(fields=0.5)
    asked = run.job_file.read_text()
    (here / "moved").symlink_to("fields")
    for name in ("./fields", "moved", str(here / "fields")):
        assert execute(training(**{name: 0.5}), run, Context()).figures == {"epochs": "1"}
    (here / "moved").unlink()
    (here / "fields").rename(here / "moved")
    training(moved=0.5).check(run, {})
    assert execute(training(moved=0.5), run, Context()).figures == {"epochs": "1"}
    assert run.job_file.read_text() == asked


def test_another_dataset_or_share_is_another_training(here: Path) -> None:
    run = trained(fields=0.5)
    datasets.make(labyrinths(seed=7, grid=FIELDS), Path("other"))
    for job in (training(other=0.5), training(fields=0.4), training()):
        with pytest.raises(InputError, match="holds the run of another job"):
            job.check(run, {})


def test_sweeps_know_further_datasets_and_both_architectures(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [NETWORK, {"encoder_filters": [2], "decoder_filters": [2]}]
    sweep = Tune.model_validate({"base": training(fields=0.5).to_table(), "space": {"network": networks}})
    run = RunDir.at(here / "sweep")
    sweep.check(run, {})
    trials = sweep.trials()
    assert [trial.job.network.architecture for trial in trials] == ["u-net", "encoder-decoder"]  # type: ignore[union-attr]
    # An actor has another working directory.
    monkeypatch.chdir("/")
    outcome = SegmentRunner(run, here).execute(Segment(0, trials[0], 1))
    assert "Finished" in repr(outcome)
    assert len(read_metrics(trials[0].folder(run).path)) == 1


def test_a_sweep_over_the_keys_of_the_u_net(here: Path) -> None:
    space = {"network.filters": [[2, 2], [3, 3, 3]], "objective.uniform_states": [0.0, 0.1]}
    sweep = Tune.model_validate({"base": training().to_table(), "space": space})
    found = [trial.job.network for trial in sweep.trials()]  # type: ignore[union-attr]
    assert FieldUNetConfig(patch=2, filters=(3, 3, 3)) in found
    assert len(found) == 4


@pytest.mark.parametrize(
    "tables",
    [
        {"objective": {"torque_weight": 0.1}},
        {"objective": {"equivariance": 1.0, "motions": "symmetries"}},
        {"training": {"augmentation": "symmetries"}},
        {},
    ],
)
def test_simulations_over_a_range_are_for_trainings_that_use_no_hamiltonian(here: Path, tables: Any) -> None:
    datasets.make(labyrinths(seed=2, grid={"hamiltonian.dmi": [0.26, 0.34]}), Path("range"))
    job = training_for_fine_spins(**{"further_datasets": {"range": 0.5}, **tables})
    if not tables:
        job.check(RunDir.at(here / "run"), {})
        job.fit(Path("main"), here / "run")
        assert weights_info(here / "run" / BEST)["provenance"]["data"]["further"][0]["share"] == 0.5
        return
    with pytest.raises(InputError, match=r"differs from that of the dataset in dmi"):
        job.check(RunDir.at(here / "run"), {})


def test_a_sweep_over_the_networks_for_fine_spins_and_their_keys(here: Path) -> None:
    base = training_for_fine_spins().to_table()
    space = {"network": [FINE_UNET, {"scale": 8, "start": "wiener-em"}], "objective.equivariance": [0.0, 1.0]}
    found = [trial.job.network for trial in Tune.model_validate({"base": base, "space": space}).trials()]  # type: ignore[union-attr]
    assert {type(network) for network in found} == {SuperResolutionNetConfig, SuperResolutionUNetConfig}
    space = {"network.start_projections": [0, 5], "network.filters": [[2, 2], [3, 3]]}
    found = [trial.job.network for trial in Tune.model_validate({"base": base, "space": space}).trials()]  # type: ignore[union-attr]
    assert build(SuperResolutionUNetConfig, {**FINE_UNET, "start_projections": 5, "filters": [3, 3]}, "") in found
    assert len(found) == 4


def test_the_plan_of_a_training_with_a_learned_start_is_measured(here: Path) -> None:
    job = training_for_fine_spins({**FINE_UNET, "start": "wiener-em"}, objective={"equivariance": 1.0})
    assert job.plan(RunDir.at(here / "run"), {}).core_seconds > 0
