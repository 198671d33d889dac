"""Trainings without Ray: how many workers there are room for."""

from __future__ import annotations

from typing import Any

import pytest

from rayspin.cluster.train import Resources
from rayspin.errors import RunError


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, 10),
        ({"cpus_per_worker": 3}, 5),
        ({"gpu": True}, 4),
        ({"gpu": True, "cpus_per_worker": 5}, 1),
        ({"workers": 3}, 3),
    ],
)
def test_workers_are_counted_node_by_node_and_share_a_batch_evenly(resources: dict[str, Any], expected: int) -> None:
    nodes = [{"CPU": 7.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 2.0}, {"CPU": 8.0}, {"GPU": 4.0}]
    assert Resources(**resources).world_size(nodes, lambda workers: 20 % workers == 0) == expected


def test_workers_that_fit_on_no_node_are_refused() -> None:
    message = "1 workers of 2 CPUs and a GPU each don't fit on nodes of 4 CPUs and 0 GPUs, 1 CPUs and 8 GPUs; ask"
    with pytest.raises(RunError, match=message):
        Resources(gpu=True, cpus_per_worker=2).world_size([{"CPU": 4.0}, {"CPU": 1.0, "GPU": 8.0}], lambda _: True)
