"""Trainings without Ray: number of workers, and reports of their errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rayspin.errors import InputError, RunError
from rayspin.jobs.train import workers as train
from rayspin.jobs.train.job import TrainingResources


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
    assert TrainingResources(**resources).world_size(nodes, lambda workers: 20 % workers == 0) == expected


def test_workers_that_fit_on_no_node_are_refused() -> None:
    message = "1 workers of 2 CPUs and a GPU each don't fit on nodes of 4 CPUs and 0 GPUs, 1 CPUs and 8 GPUs; reduce"
    nodes = [{"CPU": 4.0}, {"CPU": 1.0, "GPU": 8.0}]
    with pytest.raises(RunError, match=message):
        TrainingResources(gpu=True, cpus_per_worker=2).world_size(nodes, lambda _: True)


class WorkersFailedError(Exception):
    """The error that Ray Train raises if workers raise an exception."""

    def __init__(self, *causes: Exception) -> None:
        super().__init__("workers failed")
        self.worker_failures = dict(enumerate(causes))


def with_note(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error


def test_the_error_of_the_worker_that_failed_first_is_told_and_all_tracebacks_are_kept(tmp_path: Path) -> None:
    missing = with_note(RuntimeError("Connection closed by peer"), "worker 0: Traceback\nRuntimeError: no peer")
    cause = with_note(OSError("the disk is gone"), "worker 1: Traceback\nOSError: the disk is gone")
    error = train._unknown(WorkersFailedError(missing, cause), tmp_path)
    assert str(error) == (
        f"{tmp_path}: training failed (OSError: the disk is gone); "
        f"see {tmp_path / 'error.txt'}; run the same command again to resume"
    )
    kept = (tmp_path / "error.txt").read_text()
    assert kept.index("the disk is gone") < kept.index("no peer")


@pytest.mark.parametrize(
    ("causes", "loss"),
    [
        ([RuntimeError("Connection closed by peer")], True),
        ([RuntimeError("Connection closed by peer"), OSError("the disk is gone")], False),
        ([InputError("shard", "not a complete shard", "repair it")], False),
        ([torch.OutOfMemoryError("out of memory")], False),
    ],
)
def test_workers_are_replaced_where_one_was_lost_and_not_where_the_job_failed(
    causes: list[Exception], loss: bool
) -> None:
    assert train._is_loss(WorkersFailedError(*causes)) == loss
