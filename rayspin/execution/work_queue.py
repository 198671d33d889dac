"""The items of a dispatch and what becomes of them, common to both transports (Ray actors and local processes).

Failures are handled by their cause:

- An exception raised by the worker counts against the item. After `ATTEMPTS` failures the item is set aside, and the
  other items continue.
- A lost actor, worker or node does not count against the item. The item returns to the front of the queue, and the
  worker is replaced.
- A `MachineError` (such as a full disk) does not count against the item either, but would occur on other workers too.
  No further items are dispatched, the items in flight finish, and the error ends the run.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rayspin.errors import MachineError, RunError
from rayspin.execution.stopping import StopRequest

ATTEMPTS = 2
"""Attempts per item. The second attempt separates a temporary error of the file system from an item that always fails.
"""

LOST_IN_A_ROW = 20
"""Number of workers lost in a row, each created since the last success, after which the run fails.

Workers created before the last success do not count, because the loss of a node takes all of its workers at once.
"""

CALL_S = 0.1
"""Seconds after which a call of `Worker.work_through` starts no further item. This also limits the work that is lost
with a worker."""

Item = TypeVar("Item", bound=Hashable)
Item_contra = TypeVar("Item_contra", contravariant=True)
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Worker(Protocol[Item_contra, Result_co]):
    """Base class of workers: each actor or process creates one worker, which then processes item after item."""

    @abstractmethod
    def work(self, item: Item_contra) -> Result_co:
        """Process one item. The result must be small: arrays go to files, not through Ray's object store."""

    def work_through(self, items: Sequence[Item_contra]) -> Sequence[Result_co]:
        """Process items in order until `CALL_S` has passed, and return their results; at least one item is processed.

        If an item other than the first raises, the call ends before it and the exception is dropped. The next call
        starts with that item and raises the exception.
        """
        end = time.monotonic() + CALL_S
        results = [self.work(items[0])]
        with suppress(Exception):
            for item in items[1:]:
                if time.monotonic() > end:
                    break
                results.append(self.work(item))
        return results


@dataclass(frozen=True)
class FailedItem(Generic[Item]):
    """An item that failed `ATTEMPTS` times.

    Attributes:
        item: the item.
        error: type and message of the last exception.
        trace: traceback of the last exception.
    """

    item: Item
    error: str
    trace: str


@dataclass(frozen=True)
class Unfinished(Generic[Item]):
    """The items that a dispatch did not complete.

    Attributes:
        failed: items that failed `ATTEMPTS` times.
        remaining: items that were not processed because a stop was requested.
    """

    failed: list[FailedItem[Item]]
    remaining: list[Item]


class WorkQueue(Generic[Item, Result]):
    """The queue of items of a dispatch, with the accounting of successes, failures and lost workers.

    Args:
        items: items in order of dispatch; hashable and small.
        stop: stop request. Once a stop is requested, no further items are taken.
        on_result: called with each item and its result. A `MachineError` that it raises ends the dispatch.

    Attributes:
        successes: number of calls of workers that returned results.
    """

    def __init__(self, items: Iterable[Item], stop: StopRequest, on_result: Callable[[Item, Result], None]) -> None:
        self._waiting = deque(items)
        self._stop, self._on_result = stop, on_result
        self._failures: Counter[Item] = Counter()
        self._failed: list[FailedItem[Item]] = []
        self._lost_in_a_row = 0
        self._halted: MachineError | None = None
        self.successes = 0

    def __len__(self) -> int:
        """Number of waiting items."""
        return len(self._waiting)

    def take(self, count: int = 1) -> list[Item]:
        """Remove and return up to `count` items; none once a stop was requested or the machine failed."""
        if self._stop.requested or self._halted is not None:
            return []
        return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]

    def put_back(self, items: Sequence[Item]) -> None:
        """Return items that were not processed to the front of the queue."""
        self._waiting.extendleft(reversed(items))

    def succeeded(self, items: Sequence[Item], results: Iterable[Result]) -> None:
        """Report the results of one call of a worker."""
        self.successes += 1
        self._lost_in_a_row = 0
        try:
            for item, result in zip(items, results):
                self._on_result(item, result)
        except MachineError as error:
            self._halted = error

    def failed(self, item: Item, error: str, trace: str) -> None:
        """Report an exception of a worker.

        Args:
            item: the item that was processed.
            error: type and message of the exception.
            trace: its traceback.
        """
        self._failures[item] += 1
        if self._failures[item] < ATTEMPTS:
            self._waiting.append(item)
        else:
            self._failed.append(FailedItem(item, error, trace))

    def halt(self, item: Item, error: MachineError) -> None:
        """Report that the machine failed while an item was processed; no further items are taken."""
        self.put_back([item])
        self._halted = error

    def lost(self, items: Sequence[Item], successes_before: int, reason: str) -> None:
        """Report the loss of a worker.

        Args:
            items: the items that it held.
            successes_before: number of successes when the worker was created.
            reason: the reason of the loss, for the error message.

        Raises:
            RunError: `LOST_IN_A_ROW` workers were lost without a result.
        """
        self.put_back(items)
        if successes_before == self.successes:
            self._lost_in_a_row += 1
        if self._lost_in_a_row >= LOST_IN_A_ROW:
            problem = f"{self._lost_in_a_row} lost in a row without a result ({reason})"
            remedy = "check the free memory and the logs, then run the same command again to resume"
            raise RunError("workers", problem, remedy)

    @staticmethod
    def cannot_start(reason: str) -> RunError:
        """Return the error of workers whose constructor raises: another attempt would fail in the same way."""
        return RunError(
            "workers", f"can't start ({reason})", "fix this error, then run the same command again to resume"
        )

    def unfinished(self) -> Unfinished[Item]:
        """Return the items that were not completed.

        Raises:
            MachineError: the machine failed.
        """
        if self._halted is not None:
            raise self._halted
        return Unfinished(self._failed, list(self._waiting))
