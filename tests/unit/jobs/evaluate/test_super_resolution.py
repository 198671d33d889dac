"""Evaluations of networks and methods of reconstruction: rows, statistics, names, and what does not fit together."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rayspin import job, metrics
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.jobs.evaluate.cross_feeding import CrossFeeding
from rayspin.jobs.evaluate.noise_response import NoiseResponse
from rayspin.jobs.evaluate.super_resolution import NETWORK, EvaluateSr
from rayspin.models import SuperResolutionNetConfig, save_weights
from rayspin.physics import LABYRINTH, Degradation
from rayspin.reconstruction import MAP, reconstruct
from rayspin.rundir import RunDir
from rayspin.training import SuperResolutionObjective
from tests.support import datasets


def _dataset(folder: Path, **more: Any) -> Path:
    return datasets.make(datasets.labyrinths(4, 32, splits={"test": 2, "validation": 1}, **more), folder)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _dataset(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _dataset(tmp_path_factory.mktemp("other") / "data", hamiltonian={"dmi": 0.6})


def weights(folder: Path, scale: int = 4, provenance: dict[str, Any] | None = None) -> str:
    """Write the weights of a small network and return the path of the file."""
    torch.manual_seed(scale)
    network = SuperResolutionNetConfig.model_validate({"scale": scale, "expanding_filters": (4,)}).build()
    path = folder / f"x{scale}.safetensors"
    published = {"objective": SuperResolutionObjective().to_table(), "data": {"hamiltonian": LABYRINTH.to_table()}}
    save_weights(path, network, published if provenance is None else provenance)
    return str(path)


def evaluation(dataset: Path, **more: Any) -> EvaluateSr:
    return build(EvaluateSr, {"dataset": str(dataset), "seed": 3, **more}, "")


def opened(stage: Any) -> Any:
    return stage.open(stage.places(RunDir.at(Path("unused"))))


def test_noise_is_that_of_a_training_and_does_not_depend_on_the_shares(dataset: Path, tmp_path: Path) -> None:
    mse = {}
    for alpha in (0.0, 0.5):
        stage = evaluation(dataset, networks={NETWORK: weights(tmp_path)}, noise_amplitude=alpha)
        case = opened(stage)
        whole = stage.measure(case, 0, 2)
        alone = stage.measure(case, 1, 1)
        for here, there in zip([row for row in whole if row["sample"] == 1], alone, strict=True):
            assert here.pop("method") == there.pop("method")
            assert here == pytest.approx(there, rel=1e-4, abs=1e-6)
        whole = stage.measure(case, 0, 2)
        mse[alpha] = [row["normalized_mse"] for row in whole if row["method"] == "bicubic"]
        assert all(math.isfinite(row["raw_mse"]) for row in whole if row["method"] == NETWORK)
    # Interpolation does not remove noise.
    assert np.mean(mse[0.5]) > np.mean(mse[0.0]) + 0.01


def test_rows_and_statistics_are_of_every_scale_method_and_sample(dataset: Path, tmp_path: Path) -> None:
    stage = evaluation(
        dataset,
        networks={"ours": [weights(tmp_path, 4), weights(tmp_path, 8)]},
        methods=["bicubic (published)", {"method": "map", "label": "MAP", "scales": [8], "options": {"weight": 30.0}}],
    )
    stage.check(RunDir.at(tmp_path / "run"), {})
    case = opened(stage)
    rows = stage.measure(case, 0, 2)
    names = {4: ("ours", "bicubic (published)"), 8: ("ours", "bicubic (published)", "MAP")}
    assert [(row["scale"], row["method"], row["sample"]) for row in rows] == [
        (scale, name, n) for scale in (4, 8) for name in names[scale] for n in (0, 1)
    ]
    fine = case.read("dataset", 0, 2)
    found = reconstruct(Degradation().apply(fine, 8), 8, MAP(weight=30.0), hamiltonian=LABYRINTH).spins
    # The coarse spins of a training are degraded in float32.
    assert [row["normalized_mse"] for row in rows if row["method"] == "MAP"] == pytest.approx(
        metrics.mse(found, fine).tolist(), rel=1e-2
    )
    summary = stage.conclude(case, rows, tmp_path)
    with (tmp_path / "resolution.csv").open() as stream:
        table = {(row["scale"], row["method"]): row for row in csv.DictReader(stream)}
    assert set(table) == {(str(scale), name) for scale in names for name in names[scale]}
    for (scale, name), row in table.items():
        own = [each for each in rows if (str(each["scale"]), each["method"]) == (scale, name)]
        values = [each["wall_position"] for each in own]
        assert float(row["wall_position_mean"]) == pytest.approx(sum(values) / 2)
        assert float(row["wall_position_std"]) == pytest.approx(abs(values[0] - values[1]) / 2)
        assert float(row["wall_position_worst"]) == max(values)
        assert float(row["raw_psnr_worst"]) == min(each["raw_psnr"] for each in own)
    assert (table["4", "ours"]["published_mse"], table["8", "ours"]["published_mse"]) == ("0.0016", "0.0065")
    assert table["8", "MAP"]["published_mse"] == ""
    assert "x8 MAP" in summary.figures
    assert len(np.unique(np.asarray(Image.open(tmp_path / "resolution.png")).reshape(-1, 4), axis=0)) > 20


def test_wiener_filter_is_given_the_spectrum_of_the_training_samples(dataset: Path) -> None:
    stage = evaluation(dataset, methods=["wiener", "fourier"], scales=[8])
    rows = stage.measure(opened(stage), 0, 2)
    wiener, fourier = ([r["raw_mse"] for r in rows if r["method"] == name] for name in ("wiener", "fourier"))
    assert np.isfinite(wiener).all()
    assert wiener != fourier


def test_cross_feeding_applies_every_network_to_every_dataset(dataset: Path, other: Path, tmp_path: Path) -> None:
    table = {
        "datasets": {"a": str(dataset), "b": str(other)},
        "networks": {NETWORK: weights(tmp_path)},
        "methods": ["map"],
        "scales": [4],
    }
    stage = build(CrossFeeding, table, "")
    # The network was trained on labyrinths of another Hamiltonian than dataset b.
    stage.check(RunDir.at(tmp_path / "run"), {})
    case = opened(stage)
    rows = stage.measure(case, 1, 1)
    assert [(row["dataset"], row["method"], row["sample"]) for row in rows] == [
        (name, method, 1) for name in "ab" for method in (NETWORK, "map")
    ]
    fine = case.read("b", 1, 1)
    coarse = Degradation().apply(fine, 4)
    # MAP is given the Hamiltonian of the dataset.
    right, wrong = (
        metrics.mse(reconstruct(coarse, 4, MAP(weight=100.0), hamiltonian=hamiltonian).spins, fine)[0]
        for hamiltonian in (case.readers["b"].hamiltonian, LABYRINTH)
    )
    assert rows[3]["normalized_mse"] == pytest.approx(right, rel=1e-3)
    assert rows[3]["normalized_mse"] != pytest.approx(wrong, rel=1e-3)
    summary = stage.conclude(case, rows, tmp_path)
    with (tmp_path / "cross_feeding.csv").open() as stream:
        assert [(row["dataset"], row["method"]) for row in csv.DictReader(stream)] == [
            (name, method) for name in "ab" for method in (NETWORK, "map")
        ]
    for picture in summary.pictures:
        assert len(np.unique(np.asarray(Image.open(tmp_path / picture)).reshape(-1, 4), axis=0)) > 20


def noise_response(dataset: Path, folder: Path, **more: Any) -> NoiseResponse:
    table = {
        "dataset": str(dataset),
        "networks": {NETWORK: weights(folder)},
        "methods": ["projections"],
        "scale": 4,
        "noise_amplitudes": [0.0, 5.0],
        "iterations": 13,
        "every": 6,
        "shown": 2,
        **more,
    }
    return build(NoiseResponse, table, "")


def test_noise_response_has_a_row_for_each_method_amplitude_sample_and_recorded_iteration(
    dataset: Path, tmp_path: Path
) -> None:
    stage = noise_response(dataset, tmp_path)
    stage.check(RunDir.at(tmp_path / "run"), {})
    case = opened(stage)
    rows = stage.measure(case, 0, 1) + stage.measure(case, 1, 1)
    keys = [(row["method"], row["noise_amplitude"], row["sample"], row["iteration"]) for row in rows]
    assert len(keys) == len(set(keys))
    assert set(keys) == {
        (method, amplitude, n, iteration)
        for method in (NETWORK, "projections")
        for amplitude in (0.0, 5.0)
        for n in (0, 1)
        for iteration in (*range(1, 11), 12, 13)
    }
    summary = stage.conclude(case, rows, tmp_path)
    with (tmp_path / "maxima.csv").open() as stream:
        maxima = {(row["method"], row["noise_amplitude"]): row for row in csv.DictReader(stream)}
    own = [row for row in rows if (row["method"], row["noise_amplitude"]) == (NETWORK, 5.0)]
    means = [
        np.mean([row["correlation"] for row in own if row["iteration"] == step]) for step in (*range(1, 11), 12, 13)
    ]
    assert float(maxima[NETWORK, "5.0"]["maximum"]) == pytest.approx(max(means))
    assert float(maxima[NETWORK, "5.0"]["last"]) == pytest.approx(means[-1])
    # Noise of five times the signal leaves little of it.
    assert float(maxima["projections", "0.0"]["maximum"]) > 0.95
    assert float(maxima["projections", "5.0"]["maximum"]) < 0.6
    assert "maximum of Corr, projections" in summary.figures
    assert len(np.unique(np.asarray(Image.open(tmp_path / "noise_response.png")).reshape(-1, 4), axis=0)) > 20


def test_plan_of_a_noise_response_times_one_of_its_iterations(dataset: Path, tmp_path: Path) -> None:
    stage = noise_response(dataset, tmp_path)
    ((part, times),) = stage.timed_parts(3)
    assert (part.noise_amplitudes, part.iterations, part.methods) == ((5.0,), 1, stage.methods)
    assert times == 3 * 2 * 13
    assert job.plan(stage, tmp_path / "run").core_seconds > 0


@pytest.mark.parametrize(
    ("provenance", "message"),
    [
        ({}, r"^networks\.network: the file of .* does not contain the training objective"),
        ({"objective": 5}, r"^networks\.network: the file of .* does not contain the training objective"),
        ({"objective": {"degradation": {"sigma": "wide"}}}, r"^networks\.network: objective: degradation\.sigma"),
        ({"objective": {"degradation": {"sigma": 2.0}}}, r"^degradation: is not that of the training .* \(sigma 1\.0"),
        (
            {"objective": {"dropped": 0.1}, "data": {"hamiltonian": {"dmi": 0.2}}},
            r"^dataset: its Hamiltonian is not that of the network's training",
        ),
    ],
)
def test_weights_that_do_not_suit_are_refused(
    dataset: Path, tmp_path: Path, provenance: dict[str, Any], message: str
) -> None:
    stage = evaluation(dataset, networks={NETWORK: weights(tmp_path, provenance=provenance)})
    with pytest.raises(InputError, match=message) as error:
        job.plan(stage, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["fourrier"], "scales": [4]}, r"^methods\.0\.method: unknown method 'fourrier'; did you mean"),
        (
            {"methods": [{"method": "map", "options": {"wait": 1}}], "scales": [4]},
            r"^methods\.0\.options: wait: unknown key; did you mean 'weight'",
        ),
        (
            {"methods": [{"method": "bicubic", "options": {"a": 1}}], "scales": [4]},
            r"^methods\.0\.options: a: unknown key",
        ),
        ({}, r"^scales: neither scales nor networks are given"),
        ({"scales": [5]}, r"^scales"),
        (
            {"methods": ["network"], "scales": [4]},
            r"^methods\.0\.method: 'network' can't be used",
        ),
        ({"methods": ["map", "map"], "scales": [4]}, r"^methods: map is named twice at scale 4"),
        ({"methods": [], "scales": [4]}, r"^methods: there is no method for scale 4"),
        ({"networks": {"a": "x4"}, "scales": [8]}, r"^networks\.a: there is no network of scale 8"),
        ({"networks": {"a": ["x4", "x4"]}}, r"^networks\.a: has two networks of scale 4"),
        ({"degradation": {"mosaic": 3}, "scales": [4]}, "32 x 32 sites don't divide into blocks of 12"),
        ({"samples": 3, "scales": [4]}, r"^samples: 3 samples requested, and the split 'test' has 2"),
        ({"networks": {"a": "@train"}}, r"^networks\.a: no earlier stage '@train' trains a network"),
    ],
)
def test_what_does_not_fit_is_one_line(dataset: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = weights(tmp_path)
    networks = {
        name: [path if one == "x4" else one for one in ([each] if isinstance(each, str) else each)]
        for name, each in changes.pop("networks", {}).items()
    }
    with pytest.raises(InputError, match=message) as error:
        job.plan(evaluation(dataset, **({"networks": networks} if networks else {}), **changes), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_open_edges_are_refused(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "open", hamiltonian={"dmi": 0.3, "boundary": "open"})
    with pytest.raises(InputError, match="have open boundaries, and the networks assume periodic ones"):
        job.plan(evaluation(dataset, scales=[4]), tmp_path / "run")
