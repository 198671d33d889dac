"""Dispatch of independent items to Ray actors, with recovery from the loss of actors and nodes.

Each actor has one call in flight. Ray's own retries are off, because calls that fail while a node dies would use them
up. A call costs about 5 ms of CPU time, so short items are grouped: a call takes as many items as fit into `CALL_S`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic

from rayspin.errors import MachineError, RunError
from rayspin.execution.session import Session
from rayspin.execution.stopping import StopRequest, interruptible
from rayspin.execution.work_queue import CALL_S, Item, Result, Unfinished, Worker, WorkQueue

_POLL_S = 0.5
"""Timeout in seconds of each wait for results, which bounds the delay until a signal is handled."""


def dispatch(
    session: Session,
    stop: StopRequest,
    worker: type[Worker[Item, Result]],
    arguments: Sequence[Any],
    items: Iterable[Item],
    on_result: Callable[[Item, Result], None],
    *,
    gpu: bool = False,
) -> Unfinished[Item]:
    """Process all items with a pool of actors, one per CPU of the session, spread over the nodes.

    Args:
        session: Ray session in which the actors run.
        stop: stop request. Once a stop is requested, no further items are dispatched and the items in flight finish.
        worker: class of the workers.
        arguments: arguments with which each worker is created.
        items: items in order of dispatch; hashable and small.
        on_result: called in this process with each item and its result, in order of arrival.
        gpu: use one actor per GPU instead of one per CPU.

    Raises:
        RunError: a worker can't be created, actors keep dying without a result, or no GPU is available.
        MachineError: raised by a worker or by `on_result`. The items in flight were finished, the rest was not started.
    """
    queue = WorkQueue(items, stop, on_result)
    pool = _ActorPool(session, worker, arguments, queue, gpu=gpu)
    try:
        with interruptible(), stop.draining():
            pool.run()
    finally:
        pool.close()
    return queue.unfinished()


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
        worker: type[Worker[Item, Result]],
        arguments: Sequence[Any],
        queue: WorkQueue[Item, Result],
        *,
        gpu: bool,
    ) -> None:
        self._session = session
        self._ray = session.ray()
        actor = self._ray.remote(worker)
        needs = {"num_cpus": 1, "num_gpus": int(gpu)}
        self._actor = actor.options(**needs, scheduling_strategy="SPREAD", max_restarts=0, max_task_retries=0)
        self._arguments = arguments
        self._queue = queue
        self._in_flight: dict[Any, _Call[Item]] = {}
        self._size = min(session.gpus() if gpu else session.cpus(), len(queue))
        if len(queue) and not self._size:
            raise RunError("resources.gpu", "no GPU is available", "use nodes with GPUs, or remove this key")

    def run(self) -> None:
        for _ in range(self._size):
            self._assign_next(self._new_actor())
        while self._in_flight:
            ready, _ = self._ray.wait(list(self._in_flight), num_returns=1, timeout=_POLL_S)
            for reference in ready:
                self._handle_call(reference, self._in_flight.pop(reference))

    def close(self) -> None:
        if self._session.lost:
            return
        # Errors of this cleanup must not hide the error that ended the work.
        with suppress(Exception):
            for call in self._in_flight.values():
                self._ray.kill(call.actor.handle)
        self._in_flight.clear()

    def _handle_call(self, ready: Any, call: _Call[Item]) -> None:
        actor, items = call.actor, call.items
        errors = self._ray.exceptions
        try:
            results = self._ray.get(ready)
        except errors.RayTaskError as error:
            self._queue.put_back(items[1:])
            self._handle_error(items[0], error)
        except errors.RayError as error:
            self._handle_loss(call, error)
            actor = self._new_actor()
        else:
            self._queue.put_back(items[len(results) :])
            actor.items_per_call = len(results)
            if len(results) == len(items) and time.monotonic() - call.start < CALL_S / 2:
                actor.items_per_call *= 2
            self._queue.succeeded(items, results)
        self._assign_next(actor)

    def _handle_error(self, item: Item, error: Exception) -> None:
        # `cause` is the worker's exception; the text of RayTaskError also contains Ray's internals.
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, MachineError):
            self._queue.halt(item, cause)
        else:
            self._queue.failed(item, f"{type(cause).__name__}: {cause}", str(error))

    def _handle_loss(self, call: _Call[Item], error: Exception) -> None:
        reason = str(error).strip().splitlines()[-1].strip()
        if getattr(error, "actor_init_failed", False):
            raise self._queue.cannot_start(reason) from None
        self._queue.lost(call.items, call.actor.successes_before, reason)
        self._ray.kill(call.actor.handle)

    def _new_actor(self) -> _Actor:
        return _Actor(self._actor.remote(*self._arguments), self._queue.successes)

    def _assign_next(self, actor: _Actor) -> None:
        if items := self._queue.take(actor.items_per_call):
            self._in_flight[actor.handle.work_through.remote(items)] = _Call(actor, items, time.monotonic())
        else:
            # After the loss of nodes there are more actors than CPUs. An idle actor must release its CPU, because an
            # actor that waits for a CPU already holds an item.
            self._ray.kill(actor.handle)
