"""An evaluation rejects unusable weights before it writes anything, and never reports NaN."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from rayspin import job
from rayspin.errors import InputError
from rayspin.jobs.evaluate.estimation import EvaluateFcn
from rayspin.jobs.evaluate.network import Case
from rayspin.models import EffectiveFieldNetConfig, save_weights, weights_info
from tests.support import datasets


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "data"
    generate = datasets.labyrinths(2, 16, schedule={"sweeps": 2, "quench_sweeps": 2}, splits={"test": 2})
    return datasets.make(generate, path)


def weights(folder, change):
    path = folder / "w.safetensors"
    save_weights(path, EffectiveFieldNetConfig().build(), {})
    tensors = {name: change(tensor) for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"rayspin": json.dumps(weights_info(path))})
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: torch.full_like(t, float("nan")) if t.is_floating_point() else t, "the weights are invalid"),
        (lambda t: torch.ones_like(t, dtype=torch.int64), "the weights don't fit the network"),
    ],
    ids=["NaN", "integers"],
)
def test_weights_of_nan_or_integers_end_it_with_the_exit_code_of_bad_input(dataset, tmp_path, change, message):
    path = weights(tmp_path, change)
    evaluation = EvaluateFcn(dataset=dataset, weights=path)
    with pytest.raises(InputError, match=message) as error:
        job.plan(evaluation, tmp_path / "run")
    assert error.value.exit_code == 2
    assert str(error.value).startswith(str(path))
    assert not (tmp_path / "run").exists()


def test_figures_that_would_not_be_finite_are_an_error(dataset, tmp_path):
    """The weights are finite, but the convolutions overflow."""
    path = weights(tmp_path, lambda t: torch.full_like(t, 1e30) if t.ndim == 4 else t)
    case = Case.open(dataset, path, "test")
    with pytest.raises(InputError, match="its output is not finite"):
        EvaluateFcn(dataset=dataset, weights=path).measure(case, 0, 2)
