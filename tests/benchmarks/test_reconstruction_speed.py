"""Fields a second of each method of reconstruction on one core, for 128 x 128 spins; `make bench` gives figures.

Without --benchmark-enable the benchmarks are tests. `extra_info` contains the fields a second, and the time of the
method relative to that of "fourier", measured alternately. Run them with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest

from rayspin.metrics import mse
from rayspin.physics import DOMAIN, LABYRINTH, Degradation, anneal_many
from rayspin.reconstruction import MAP, Fourier, Projections, Wiener, WienerEM, reconstruct, spectrum
from rayspin.reconstruction.interpolation import Interpolation

FIELDS, SCALE, ROUNDS = 8, 8, 5
METHODS = {
    "bicubic": Interpolation(),
    "fourier": Fourier(),
    "wiener": Wiener(),
    "wiener-em": WienerEM(),
    "projections": Projections(),
    "map": MAP(),
}


@pytest.fixture(scope="module", params=[LABYRINTH, DOMAIN], ids=["labyrinth", "domain"])
def given(request):
    fine = anneal_many(request.param, 128, seeds=[(8, n) for n in range(FIELDS)])
    coarse = Degradation().apply(fine, SCALE)
    return fine, coarse, {"hamiltonian": request.param, "spectrum": spectrum(fine)}


@pytest.mark.parametrize("name", METHODS)
def test_method(benchmark, name, given):
    """Time of a batch, of which "wiener-em" learns one spectrum."""
    fine, coarse, further = given
    rounds = ROUNDS if benchmark.enabled else 1
    result = benchmark.pedantic(
        reconstruct, (coarse, SCALE, METHODS[name]), further, rounds=rounds, warmup_rounds=benchmark.enabled
    )
    # The nearest a uniform field comes to unit spins of any direction is 2 / 3.
    assert mse(result.spins, fine).mean() < 0.4
    if benchmark.enabled:
        ratios = []
        for _ in range(rounds):
            seconds = []
            for method in (METHODS[name], METHODS["fourier"]):
                begin = time.perf_counter()
                reconstruct(coarse, SCALE, method, **further)
                seconds.append(time.perf_counter() - begin)
            ratios.append(seconds[0] / seconds[1])
        benchmark.extra_info["fields_per_second"] = round(FIELDS / benchmark.stats.stats.median, 1)
        benchmark.extra_info["times_of_fourier"] = round(statistics.median(ratios), 2)


@pytest.mark.parametrize("observations", [1, 2, 4])
def test_observations(benchmark, observations, given):
    """Time of "map" with several observations."""
    fine, _, further = given
    shifts = ((0, 0), (4, 4), (4, 0), (0, 4))[:observations]
    moved = [Degradation().apply(np.roll(fine, (-y, -x), axis=(1, 2)), SCALE) for y, x in shifts]
    coarse = np.stack(moved, axis=1)
    rounds = ROUNDS if benchmark.enabled else 1
    result = benchmark.pedantic(
        reconstruct, (coarse, SCALE, MAP()), {**further, "shifts": shifts}, rounds=rounds, warmup_rounds=0
    )
    assert mse(result.spins, fine).mean() < 1e-3
    if benchmark.enabled:
        benchmark.extra_info["fields_per_second"] = round(FIELDS / benchmark.stats.stats.median, 1)
