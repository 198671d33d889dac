"""Time per spin update and per sample on a GPU. NOTES.md contains measurements."""

from __future__ import annotations

import numpy as np
import pytest

from rayspin.physics import DOMAIN, DOMAIN_SCHEDULE, LABYRINTH, LABYRINTH_SCHEDULE, anneal_many, energy
from rayspin.physics.gpu import BatchSampler, available

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not available(), reason="no GPU is available")]
SAMPLES = 1056


def per_update(benchmark, move, updates):
    benchmark.pedantic(move, rounds=5, iterations=1, warmup_rounds=1)
    if benchmark.enabled:
        benchmark.extra_info["ns_per_update"] = round(1e9 * benchmark.stats.stats.median / updates, 4)


@pytest.mark.parametrize("over_relaxation", [0, 10])
def test_heat_bath(benchmark, over_relaxation):
    sampler = BatchSampler(LABYRINTH, 128, [(1, sample) for sample in range(SAMPLES)])
    temperatures = np.full(20, 0.3)

    def move():
        sampler.heat_bath(temperatures, over_relaxation)
        sampler.synchronize()

    per_update(benchmark, move, SAMPLES * 128**2 * 20 * (1 + over_relaxation))
    assert energy(sampler.spins[0], LABYRINTH) < -0.9


@pytest.mark.parametrize(
    ("model", "schedule", "expected"),
    [(LABYRINTH, LABYRINTH_SCHEDULE, -2.042), (DOMAIN, DOMAIN_SCHEDULE, -2.08)],
    ids=["labyrinth", "domain"],
)
def test_samples(benchmark, model, schedule, expected):
    """Time per sample, including the copy to the memory of the CPU."""
    seeds = [(2, sample) for sample in range(SAMPLES)]
    spins = benchmark.pedantic(lambda: anneal_many(model, 128, schedule, seeds, device="cuda"), rounds=2)
    if benchmark.enabled:
        benchmark.extra_info["ms_per_sample"] = round(1e3 * benchmark.stats.stats.median / SAMPLES, 3)
    assert energy(spins[:20], model).mean() == pytest.approx(expected, rel=0.01)
