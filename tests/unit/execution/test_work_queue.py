"""The work queue counts failures of items and losses of workers, and halts after an error of the machine."""

from __future__ import annotations

import signal

import pytest

from rayspin.errors import MachineError, RunError
from rayspin.execution.stopping import StopRequest
from rayspin.execution.work_queue import ATTEMPTS, LOST_IN_A_ROW, FailedItem, Unfinished, WorkQueue


class Results:
    """A queue of the items 0 to 3, and the results by item."""

    def __init__(self) -> None:
        self.of: dict[int, int] = {}
        self.queue = WorkQueue[int, int](range(4), StopRequest(), self.of.__setitem__)


@pytest.fixture
def results() -> Results:
    return Results()


def test_items_are_taken_in_order_and_returned_items_come_first(results: Results) -> None:
    queue = results.queue
    assert queue.take(3) == [0, 1, 2]
    queue.succeeded([0, 1, 2], [0])
    queue.put_back([1, 2])
    assert (queue.take(9), queue.take()) == ([1, 2, 3], [])
    assert results.of == {0: 0}
    assert queue.unfinished() == Unfinished([], [])


def test_failing_item_is_retried_after_the_others_up_to_the_limit(results: Results) -> None:
    queue = results.queue
    attempts = []
    while items := queue.take():
        attempts += items
        if items == [0]:
            queue.failed(0, "ValueError: no", f"trace {attempts.count(0)}")
    assert attempts == [0, 1, 2, 3, *[0] * (ATTEMPTS - 1)]
    assert queue.unfinished() == Unfinished([FailedItem(0, "ValueError: no", f"trace {ATTEMPTS}")], [])


def test_lost_worker_does_not_count_against_its_items(results: Results) -> None:
    queue = results.queue
    for _ in range(LOST_IN_A_ROW - 1):
        assert queue.take(2) == [0, 1]
        queue.lost([0, 1], queue.successes, "killed")
    queue.succeeded([], [])
    assert queue.unfinished() == Unfinished([], [0, 1, 2, 3])


def test_losses_without_success_end_the_dispatch_except_of_old_workers(
    results: Results,
) -> None:
    queue = results.queue
    queue.succeeded([], [])
    for _ in range(3 * LOST_IN_A_ROW):
        queue.lost([], 0, "their node died")
    for _ in range(LOST_IN_A_ROW - 1):
        queue.lost([], 1, "killed")
    with pytest.raises(RunError, match=rf"{LOST_IN_A_ROW} lost in a row without a result \(killed\)"):
        queue.lost([], 1, "killed")


def test_machine_error_ends_the_dispatch_and_does_not_count_against_the_item(results: Results) -> None:
    queue = results.queue
    queue.halt(queue.take()[0], MachineError("/data", "No space left on device", "make room"))
    assert (len(queue), queue.take()) == (4, [])
    queue.succeeded([1], [1])
    assert results.of == {1: 1}
    with pytest.raises(MachineError, match="No space left"):
        queue.unfinished()


def test_items_remain_after_a_stop(results: Results) -> None:
    stop = StopRequest()
    queue = WorkQueue[int, int]([1, 2], stop, lambda *_: None)
    assert queue.take() == [1]
    with stop.draining():
        stop._handle_signal(signal.SIGUSR2, None)
    assert queue.take() == []
    assert queue.unfinished() == Unfinished([], [2])
