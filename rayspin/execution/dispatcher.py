"""Dispatch of independent items to Ray actors, with recovery from the loss of actors and nodes.

Each actor has one call in flight. Ray's own retries are off, because calls that fail while a node dies would use them
up. A call costs about 5 ms of CPU time, so short items are grouped: a call takes as many items as fit into `CALL_S`.

Failures are handled by their cause:

- An exception raised by the worker counts against the item. After `ATTEMPTS` failures the item is set aside, and the
  other items continue.
- A lost actor, worker or node does not count against the item. The item returns to the front of the queue, and the
  actor is replaced.
- A `MachineError` (such as a full disk) does not count against the item either, but would occur on other actors too.
  No further items are dispatched, the items in flight finish, and the error ends the run.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from rayspin.errors import MachineError, RunError
from rayspin.execution.session import Session
from rayspin.execution.stopping import StopRequest, interruptible

ATTEMPTS = 2
"""Attempts per item. The second attempt separates a temporary error of the file system from an item that always fails.
"""

LOST_IN_A_ROW = 20
"""Number of actors lost in a row, each created since the last success, after which the run fails.

Actors created before the last success do not count, because the loss of a node takes all of its actors at once.
"""

CALL_S = 0.1
"""Seconds after which a call starts no further item. This also limits the work that is lost with an actor."""

_POLL_S = 0.5
"""Timeout in seconds of each wait for results, which bounds the delay until a signal is handled."""

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
class Outcome(Generic[Item]):
    """The items that were not completed.

    Attributes:
        failed: items that failed `ATTEMPTS` times.
        remaining: items that were not processed because a stop was requested.
    """

    failed: list[FailedItem[Item]]
    remaining: list[Item]


def dispatch(
    session: Session,
    stop: StopRequest,
    worker: type[Worker[Item, Result]],
    arguments: Sequence[Any],
    items: Iterable[Item],
    on_result: Callable[[Item, Result], None],
    *,
    gpu: bool = False,
) -> Outcome[Item]:
    """Process all items with a pool of actors, one per CPU of the session, spread over the nodes.

    Args:
        session: Ray session in which the actors run.
        stop: stop request. Once a stop is requested, no further items are dispatched and the items in flight finish.
        worker: class of the actors.
        arguments: arguments with which each actor is created.
        items: items in order of dispatch; hashable and small.
        on_result: called in this process with each item and its result, in order of arrival.
        gpu: use one actor per GPU instead of one per CPU.

    Raises:
        RunError: an actor can't be created, actors keep dying without a result, or no GPU is available.
        MachineError: raised by a worker or by `on_result`. The items in flight were finished, the rest was not started.
    """
    pool = _ActorPool(session, stop, worker, arguments, deque(items), gpu=gpu)
    try:
        with interruptible(), stop.draining():
            pool.run(on_result)
    finally:
        pool.close()
    return Outcome(pool.failed, list(pool.queue))


@dataclass
class _Actor:
    handle: Any
    successes_before: int
    """Successes of the whole pool when this actor was created."""
    items_per_call: int = 1


@dataclass(frozen=True)
class _Call(Generic[Item]):
    actor: _Actor
    items: Sequence[Item]
    start: float


class _ActorPool(Generic[Item, Result]):
    def __init__(
        self,
        session: Session,
        stop: StopRequest,
        worker: type[Worker[Item, Result]],
        arguments: Sequence[Any],
        queue: deque[Item],
        *,
        gpu: bool,
    ) -> None:
        self._session = session
        self._ray = session.ray()
        actor = self._ray.remote(worker)
        needs = {"num_cpus": 1, "num_gpus": int(gpu)}
        self._actor = actor.options(**needs, scheduling_strategy="SPREAD", max_restarts=0, max_task_retries=0)
        self._arguments = arguments
        self._stop = stop
        self.queue = queue
        self._in_flight: dict[Any, _Call[Item]] = {}
        self._failures: Counter[Item] = Counter()
        self._lost_in_a_row = 0
        self._successes = 0
        self._size = min(session.gpus() if gpu else session.cpus(), len(queue))
        if queue and not self._size:
            raise RunError("resources.gpu", "no GPU is available", "use nodes with GPUs, or remove this key")
        self._halted: MachineError | None = None
        self.failed: list[FailedItem[Item]] = []

    def run(self, on_result: Callable[[Item, Result], None]) -> None:
        for _ in range(self._size):
            self._assign_next(self._new_actor())
        while self._in_flight:
            ready, _ = self._ray.wait(list(self._in_flight), num_returns=1, timeout=_POLL_S)
            for reference in ready:
                self._handle_call(reference, self._in_flight.pop(reference), on_result)
        if self._halted is not None:
            raise self._halted

    def close(self) -> None:
        if self._session.lost:
            return
        # Errors of this cleanup must not hide the error that ended the work.
        with suppress(Exception):
            for call in self._in_flight.values():
                self._ray.kill(call.actor.handle)
        self._in_flight.clear()

    def _handle_call(self, ready: Any, call: _Call[Item], on_result: Callable[[Item, Result], None]) -> None:
        actor, items = call.actor, call.items
        errors = self._ray.exceptions
        try:
            results = self._ray.get(ready)
        except errors.RayTaskError as error:
            self._put_back(items[1:])
            self._count_failure(items[0], error)
        except errors.RayError as error:
            self._put_back(items)
            self._handle_loss(actor, error)
            actor = self._new_actor()
        else:
            self._put_back(items[len(results) :])
            self._successes += 1
            self._lost_in_a_row = 0
            actor.items_per_call = len(results)
            if len(results) == len(items) and time.monotonic() - call.start < CALL_S / 2:
                actor.items_per_call *= 2
            try:
                for item, result in zip(items, results):
                    on_result(item, result)
            except MachineError as error:
                self._halted = error
        self._assign_next(actor)

    def _put_back(self, items: Sequence[Item]) -> None:
        self.queue.extendleft(reversed(items))

    def _count_failure(self, item: Item, error: Exception) -> None:
        # `cause` is the worker's exception; the text of RayTaskError also contains Ray's internals.
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, MachineError):
            self._put_back([item])
            self._halted = cause
            return
        self._failures[item] += 1
        if self._failures[item] < ATTEMPTS:
            self.queue.append(item)
            return
        self.failed.append(FailedItem(item, f"{type(cause).__name__}: {cause}", str(error)))

    def _handle_loss(self, actor: _Actor, error: Exception) -> None:
        if actor.successes_before == self._successes:
            self._lost_in_a_row += 1
        # If the worker's constructor raises, another attempt would fail in the same way.
        if getattr(error, "actor_init_failed", False) or self._lost_in_a_row >= LOST_IN_A_ROW:
            reason = str(error).strip().splitlines()[-1].strip()
            raise RunError(
                "workers",
                f"{self._lost_in_a_row} lost in a row without a result ({reason})",
                "check the free memory and Ray's logs, then run the same command again to resume",
            ) from None
        self._ray.kill(actor.handle)

    def _new_actor(self) -> _Actor:
        return _Actor(self._actor.remote(*self._arguments), self._successes)

    def _assign_next(self, actor: _Actor) -> None:
        if self.queue and not self._stop.requested and self._halted is None:
            items = [self.queue.popleft() for _ in range(min(actor.items_per_call, len(self.queue)))]
            self._in_flight[actor.handle.work_through.remote(items)] = _Call(actor, items, time.monotonic())
        else:
            # After the loss of nodes there are more actors than CPUs. An idle actor must release its CPU, because an
            # actor that waits for a CPU already holds an item.
            self._ray.kill(actor.handle)
