"""Each benchmark with Ray runs, with small sizes and without timing."""

from __future__ import annotations

import pytest

from tests.support.benchmarks import BENCHMARKS, smoke_run


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if "_ray_" in name])
def test_benchmark_runs(name: str) -> None:
    smoke_run(name)
