"""Spread independent items over Ray actors, and survive whatever happens to the actors.

One call in flight per actor, no retries of Ray's own: they would be burnt by innocent calls while a node dies. A call
costs some 5 ms of CPU time here and there, so that short items go several to a call: as many as fill `CALL_S`. Two
kinds of failure are told apart. An exception of the worker is the item's fault: it counts, and after `ATTEMPTS` the
item is set aside, while the rest goes on. A lost actor, worker or node is the machine's: the item goes back to the
front of the queue, the actor is replaced, and nothing is counted. So is a full disk (`MachineError`), but another actor
would fare no better: no further item is given out, those in flight end, and the error ends the run.
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
"""Tries of an item that raises: a second one tells a hiccup of the file system from a poison item."""

LOST_IN_A_ROW = 20
"""Lost actors, made since the last success, after which the machine is held to be at fault for good. Older ones don't
count: a node takes all of its actors with it, however many."""

CALL_S = 0.1
"""What a call of several items lasts at most, but for its last item; it is also what is lost with the actor."""

_LOOK_S = 0.5
"""Seconds after which a signal is heard at the latest."""

Item = TypeVar("Item", bound=Hashable)
Item_contra = TypeVar("Item_contra", contravariant=True)
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Worker(Protocol[Item_contra, Result_co]):
    """What runs in an actor: made once from the worker's arguments, then called item by item."""

    @abstractmethod
    def work(self, item: Item_contra) -> Result_co:
        """Do one item; its result is small (arrays go to files, not through the object store)."""

    def work_through(self, items: Sequence[Item_contra]) -> Sequence[Result_co]:
        """The results of the first of these items: of all that could be begun within `CALL_S`, at least of one.

        An item that raises ends the call before it, so that it is first in another: there its exception is raised.
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
    """An item that failed `ATTEMPTS` times, with its last traceback."""

    item: Item
    error: str
    trace: str


@dataclass(frozen=True)
class Outcome(Generic[Item]):
    """What was not done: items that failed, and items that a stop left over."""

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
    """Have every item done by a pool of actors, one on each CPU of the session, spread over the nodes.

    Args:
        session: where the actors live.
        stop: once it is requested no further item is given out; those in flight end.
        worker: the actors' class.
        arguments: what each actor is made with.
        items: what to do, in order of dispatch; hashable and small.
        on_result: called in this process with each item and its result, as they come in.
        gpu: one actor on each GPU instead.

    Raises:
        RunError: an actor can't be made, or they keep dying without a single success; there is no GPU for one.
        MachineError: raised by a worker or by `on_result`; what was not done yet was left.
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
    """Of the whole pool, when it was made."""
    items_a_call: int = 1


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
            raise RunError("resources.gpu", "no GPU is there", "ask for nodes with GPUs, or leave it out")
        self._halted: MachineError | None = None
        self.failed: list[FailedItem[Item]] = []

    def run(self, on_result: Callable[[Item, Result], None]) -> None:
        for _ in range(self._size):
            self._give_next(self._new_actor())
        while self._in_flight:
            ready, _ = self._ray.wait(list(self._in_flight), num_returns=1, timeout=_LOOK_S)
            for reference in ready:
                self._take(reference, self._in_flight.pop(reference), on_result)
        if self._halted is not None:
            raise self._halted

    def close(self) -> None:
        if self._session.lost:
            return
        # Whatever ended the work is told; what goes wrong in clearing up is not.
        with suppress(Exception):
            for call in self._in_flight.values():
                self._ray.kill(call.actor.handle)
        self._in_flight.clear()

    def _take(self, ready: Any, call: _Call[Item], on_result: Callable[[Item, Result], None]) -> None:
        actor, items = call.actor, call.items
        errors = self._ray.exceptions
        try:
            results = self._ray.get(ready)
        except errors.RayTaskError as error:
            self._put_back(items[1:])
            self._failed(items[0], error)
        except errors.RayError as error:
            self._put_back(items)
            self._lost(actor, error)
            actor = self._new_actor()
        else:
            self._put_back(items[len(results) :])
            self._successes += 1
            self._lost_in_a_row = 0
            actor.items_a_call = len(results)
            if len(results) == len(items) and time.monotonic() - call.start < CALL_S / 2:
                actor.items_a_call *= 2
            try:
                for item, result in zip(items, results):
                    on_result(item, result)
            except MachineError as error:
                self._halted = error
        self._give_next(actor)

    def _put_back(self, items: Sequence[Item]) -> None:
        self.queue.extendleft(reversed(items))

    def _failed(self, item: Item, error: Exception) -> None:
        # `cause` is the exception itself; RayTaskError's own text repeats Ray's internals.
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

    def _lost(self, actor: _Actor, error: Exception) -> None:
        if actor.successes_before == self._successes:
            self._lost_in_a_row += 1
        # A worker that can't even be made will not be made better by another try.
        if getattr(error, "actor_init_failed", False) or self._lost_in_a_row >= LOST_IN_A_ROW:
            reason = str(error).strip().splitlines()[-1].strip()
            raise RunError(
                "workers",
                f"{self._lost_in_a_row} lost in a row without one result ({reason})",
                "look at memory and at Ray's logs, then run the same command again",
            ) from None
        self._ray.kill(actor.handle)

    def _new_actor(self) -> _Actor:
        return _Actor(self._actor.remote(*self._arguments), self._successes)

    def _give_next(self, actor: _Actor) -> None:
        if self.queue and not self._stop.requested and self._halted is None:
            items = [self.queue.popleft() for _ in range(min(actor.items_a_call, len(self.queue)))]
            self._in_flight[actor.handle.work_through.remote(items)] = _Call(actor, items, time.monotonic())
        else:
            # After the loss of nodes there are more actors than CPUs: one that waits for a CPU holds an item.
            self._ray.kill(actor.handle)
