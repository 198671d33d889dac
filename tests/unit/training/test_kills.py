"""SIGKILL at any moment, then the same call: the curve and the weights are those of an uninterrupted training."""

import json
import multiprocessing
import os
import random
import signal
import time

import torch

from rayspin.models import EffectiveFieldNetConfig, load_weights
from rayspin.training import FieldObjective, TrainingConfig, fit
from tests.support.training import memory_source

NETWORK = EffectiveFieldNetConfig(encoder_filters=(8, 16), decoder_filters=(16, 8))
TRAINING = TrainingConfig(epochs=60, batch_size=4, augmentation="symmetries", checkpoint_interval=3)


def _fit(folder):
    torch.set_num_threads(1)
    return fit(FieldObjective(), NETWORK, TRAINING, memory_source(12, seed=1), memory_source(5, seed=2), folder)


def _epochs(folder):
    """The epochs in the metrics file, which must be whole at any moment."""
    try:
        return [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    except FileNotFoundError:
        return []


def test_a_training_that_is_killed_again_and_again_ends_the_same(tmp_path):
    whole = _fit(tmp_path / "whole")
    folder = tmp_path / "killed"
    chance = random.Random(4)
    kept = 0
    for _ in range(4):
        process = multiprocessing.get_context("spawn").Process(target=_fit, args=(folder,))
        process.start()
        while len(_epochs(folder)) < kept + 5 and process.is_alive():
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        epochs = _epochs(folder)
        assert epochs == list(range(1, len(epochs) + 1))
        kept = len(epochs) // 3 * 3
    assert 0 < kept < 60
    result = _fit(folder)
    curves = [
        [(line["epoch"], line["training_loss"], line["validation_loss"]) for line in r.history] for r in (whole, result)
    ]
    assert curves[0] == curves[1]
    assert _epochs(folder) == list(range(1, 61))
    for name in ("weights.safetensors", "best.safetensors"):
        a, b = (load_weights(tmp_path / run / name).state_dict() for run in ("whole", "killed"))
        assert all(torch.equal(a[key], b[key]) for key in a)
