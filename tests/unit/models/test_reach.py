"""The reach of field networks: how far a spin affects the estimate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayspin.models import EffectiveFieldNetConfig, FieldUNetConfig, apply

CONFIGS = [
    FieldUNetConfig(patch=2, filters=(4, 4)),
    FieldUNetConfig(patch=4, filters=(4, 4, 4)),
    EffectiveFieldNetConfig(encoder_filters=(4, 4, 4), decoder_filters=(4, 4, 3)),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_spins_beyond_the_reach_do_not_affect_the_estimate_and_those_within_do(config):
    torch.manual_seed(0)
    network, rng, sites = config.build(), np.random.default_rng(0), 192
    spins = rng.normal(size=(1, sites, sites, 3)).astype(np.float32)
    before, farthest = apply(network, spins), 0
    for place in range(sites // 2, sites // 2 + config.stride):
        changed = spins.copy()
        changed[0, place, place] += 5
        rows, columns = np.nonzero((apply(network, changed)[0] != before[0]).any(axis=-1))
        farthest = max(farthest, np.abs(rows - place).max(), np.abs(columns - place).max())
    # Not every network has the extreme path: a maximum or a ReLU may hide it.
    assert config.reach - config.stride < farthest <= config.reach
