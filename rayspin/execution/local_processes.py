"""Spread items over processes of this machine without Ray: what `dispatch` does over a cluster, for one node alone.

The same kinds of failure are told apart: an exception counts against its item, a lost process or a full disk does not.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from typing import Any, Generic

from rayspin.errors import MachineError, RunError
from rayspin.execution.dispatcher import ATTEMPTS, LOST_IN_A_ROW, FailedItem, Item, Outcome, Result, Worker
from rayspin.execution.stopping import StopRequest

_LOOK_S = 0.5


def dispatch_to_processes(
    processes: int,
    stop: StopRequest,
    worker: type[Worker[Item, Result]],
    arguments: Sequence[Any],
    items: Iterable[Item],
    on_result: Callable[[Item, Result], None],
    warm_up: Callable[[], None],
) -> Outcome[Item]:
    """Have every item done by so many processes; the rest as in `fanout.dispatch`.

    `warm_up` is called once in a process of its own before they start: what it leaves on disk, they need not make each.
    """
    pool = _ProcessPool(worker, arguments, deque(items), warm_up)
    try:
        with stop.draining():
            pool.run(processes, stop, on_result)
    finally:
        pool.close()
    return Outcome(pool.failed, list(pool.queue))


@dataclass(eq=False)
class _Process(Generic[Item]):
    process: Any
    pipe: connection.Connection
    item: Item


class _ProcessPool(Generic[Item, Result]):
    def __init__(
        self,
        worker: type[Worker[Item, Result]],
        arguments: Sequence[Any],
        queue: deque[Item],
        warm_up: Callable[[], None],
    ) -> None:
        self._worker, self._arguments, self.queue, self._warm_up = worker, arguments, queue, warm_up
        # Forked from a process that has all imported and no threads: on a node of 128 cores, one import instead of 128.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([worker.__module__])
        self._busy: dict[Any, _Process[Item]] = {}
        self._failures: Counter[Item] = Counter()
        self._lost_in_a_row = 0
        self._halted: MachineError | None = None
        self.failed: list[FailedItem[Item]] = []

    def run(self, processes: int, stop: StopRequest, on_result: Callable[[Item, Result], None]) -> None:
        with _for_workers():
            forkserver.ensure_running()
        if processes > 1 and len(self.queue) > 1:
            # What goes wrong in it goes wrong again in a worker, and is told there.
            first = self._context.Process(target=self._warm_up, daemon=True)
            first.start()
            first.join()
        for _ in range(min(processes, len(self.queue))):
            if not stop.requested:
                self._start(self.queue.popleft())
        while self._busy:
            for pipe in connection.wait(list(self._busy), _LOOK_S):
                at_work = self._busy.pop(pipe)
                try:
                    outcome = at_work.pipe.recv()
                except (EOFError, OSError):
                    self._lost(at_work)
                    if not stop.requested and self._halted is None:
                        self._start(self.queue.popleft())
                    continue
                self._take(at_work.item, outcome, on_result)
                if self.queue and not stop.requested and self._halted is None:
                    self._give(at_work, self.queue.popleft())
                else:
                    at_work.pipe.close()
                    at_work.process.join()
        if self._halted is not None:
            raise self._halted

    def close(self) -> None:
        for at_work in self._busy.values():
            at_work.process.kill()
            at_work.process.join()
            at_work.pipe.close()
        self._busy.clear()

    def _start(self, item: Item) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._worker, self._arguments), daemon=True)
        process.start()
        # Else the pipe of a dead process would never end.
        theirs.close()
        self._give(_Process(process, ours, item), item)

    def _give(self, at_work: _Process[Item], item: Item) -> None:
        at_work.item = item
        # A process that died meanwhile shows when its answer is read.
        with suppress(OSError):
            at_work.pipe.send(item)
        self._busy[at_work.pipe] = at_work

    def _take(self, item: Item, outcome: Any, on_result: Callable[[Item, Result], None]) -> None:
        match outcome:
            case ("made", result):
                self._lost_in_a_row = 0
                try:
                    on_result(item, result)
                except MachineError as error:
                    self._halted = error
            case ("failed", error, trace):
                self._failures[item] += 1
                if self._failures[item] < ATTEMPTS:
                    self.queue.append(item)
                else:
                    self.failed.append(FailedItem(item, error, trace))
            case ("refused", error):
                self.queue.appendleft(item)
                self._halted = error
            case (_, error):
                raise RunError("workers", f"can't start ({error})", "mend that, then run the same command again")

    def _lost(self, at_work: _Process[Item]) -> None:
        at_work.process.join()
        at_work.pipe.close()
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= LOST_IN_A_ROW:
            raise RunError(
                "workers",
                f"{self._lost_in_a_row} lost in a row without one result (exit code {at_work.process.exitcode})",
                "look at memory, then run the same command again",
            )
        self.queue.appendleft(at_work.item)


def _serve(pipe: connection.Connection, worker: type[Worker[Item, Result]], arguments: Sequence[Any]) -> None:
    """The main function of a worker's process: items in, outcomes out, until the pipe ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        made = worker(*arguments)
    except Exception as error:
        pipe.send(("unmade", f"{type(error).__name__}: {error}"))
        return
    with suppress(EOFError, OSError):
        while True:
            item = pipe.recv()
            try:
                outcome: tuple[Any, ...] = "made", made.work(item)
            except MachineError as error:
                outcome = "refused", error
            except Exception as error:
                outcome = "failed", f"{type(error).__name__}: {error}", traceback.format_exc()
            pipe.send(outcome)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _for_workers() -> Iterator[None]:
    """What the workers inherit: signals are for this process alone to hear, and a worker has one core."""
    deaf = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR2}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in threads}
    signal.pthread_sigmask(signal.SIG_BLOCK, deaf)
    os.environ |= threads
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        # What came meanwhile is heard now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, deaf)
