"""A checkpoint that can't be used is refused before anything is trained, also by a branch; nothing is lost."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayspin.errors import InputError, RayspinError
from rayspin.models import EffectiveFieldNetConfig, load_weights, save_weights
from rayspin.physics import LABYRINTH, Hamiltonian
from rayspin.training import BEST, FieldObjective, TrainingConfig, branch, fit
from rayspin.training.checkpoint import CHECKPOINT, Checkpoint
from tests.support import reference

NETWORK = EffectiveFieldNetConfig(encoder_filters=(2,), decoder_filters=(2,))
NAN = float("nan")


@dataclass(frozen=True)
class Samples:
    """Random spins in memory, as a `SampleSource`."""

    spins: np.ndarray
    hamiltonian: Hamiltonian = LABYRINTH
    shape: tuple[int, int] = (8, 8)
    digest: str = "random"

    @classmethod
    def of(cls, count, seed):
        return cls(reference.random_spins(np.random.default_rng(seed), count, 8, 8).astype(np.float32))

    @property
    def samples(self):
        return np.arange(len(self))

    def __len__(self):
        return len(self.spins)

    def read(self, positions):
        return self.spins[positions]


def trained(folder, epochs):
    training = TrainingConfig(epochs=epochs, batch_size=4)
    return fit(FieldObjective(), NETWORK, training, Samples.of(8, seed=1), Samples.of(2, seed=2), folder)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent")
    trained(folder, 1)
    return folder


@pytest.fixture
def folder(parent, tmp_path):
    return shutil.copytree(parent, tmp_path / "run")


def spoil(folder, change):
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    change(state)
    torch.save(state, folder / CHECKPOINT)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def first_moment(state):
    return state["optimizer"]["state"][0]["exp_avg"]


CHANGES = {
    "NaN": (lambda s: s["network"]["last.bias"].fill_(NAN), r"are invalid \(last.bias holds NaN"),
    "integers": (
        lambda s: s["network"].update({"last.bias": torch.zeros(3, dtype=torch.int32)}),
        "last.bias has type torch.int32",
    ),
    "another shape": (lambda s: s["network"].update({"last.bias": torch.zeros(4)}), r"last.bias has shape \(4,\)"),
    "a tensor less": (lambda s: s["network"].pop("last.bias"), "last.bias is missing"),
    "NaN in the optimizer": (lambda s: first_moment(s).fill_(NAN), "state of the optimizer"),
    "optimizer of another": (lambda s: s["optimizer"]["state"].pop(0), "state of the optimizer"),
    "no optimizer": (lambda s: s["optimizer"].clear(), "state of the optimizer"),
    "moment of another shape": (
        lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.zeros(1)),
        "state of the optimizer",
    ),
    "no history": (lambda s: s.pop("history"), "not a checkpoint of a training"),
    "network of another type": (lambda s: s.update(network=[1, 2]), "not a checkpoint of a training"),
    "texts for tensors": (lambda s: s["network"].update({"last.bias": "x"}), "not a checkpoint of a training"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_training_does_not_go_on_from_a_checkpoint_that_can_not_be_used(folder, case):
    change, message = CHANGES[case]
    spoil(folder, change)
    before = contents(folder)
    with pytest.raises(InputError, match=message) as error:
        trained(folder, 2)
    assert str(error.value).startswith(f"{folder / CHECKPOINT}: ")
    assert "remove" not in str(error.value)
    assert contents(folder) == before


def test_a_sound_checkpoint_goes_on_and_branches(folder, tmp_path):
    assert len(trained(str(folder), 2).history) == 2
    branch(str(folder), str(tmp_path / "child"), 2, {})
    assert len(Checkpoint.load(tmp_path / "child").history) == 2


@pytest.mark.parametrize("case", ["NaN", "network of another type"])
def test_no_branch_starts_from_a_checkpoint_that_can_not_be_used(folder, tmp_path, case):
    change, message = CHANGES[case]
    spoil(folder, change)
    with pytest.raises(InputError, match=message):
        branch(folder, tmp_path / "child", 1, {})
    assert not (tmp_path / "child").exists()


def test_no_branch_takes_best_weights_that_can_not_be_used(folder, tmp_path):
    (folder / BEST).write_bytes((folder / BEST).read_bytes()[:-4])
    with pytest.raises(InputError, match="not a rayspin weight file"):
        branch(folder, tmp_path / "child", 1, {})
    (folder / BEST).unlink()
    with pytest.raises(InputError, match="no such file"):
        branch(folder, tmp_path / "child", 1, {})
    assert not (tmp_path / "child").exists()
    save_weights(folder / BEST, NETWORK.build(), {})
    branch(folder, tmp_path / "child", 1, {})
    assert load_weights(tmp_path / "child" / BEST).config == NETWORK


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_checkpoint_with_bytes_changed_is_read_or_refused_in_one_line(parent, tmp_path_factory, data):
    changed = bytearray((parent / CHECKPOINT).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=4)):
        changed[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.none() | st.integers(0, len(changed)))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / CHECKPOINT).write_bytes(changed[:cut])
    told, tensors = "", {}
    try:
        tensors = Checkpoint.load(folder).network
    except RayspinError as error:
        told = str(error)
    assert "\n" not in told
    assert all(torch.isfinite(tensor.double()).all() for tensor in tensors.values())
