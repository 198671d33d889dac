"""Dispatch of items to processes of one machine without Ray: the counterpart of `dispatcher.dispatch` for one node.

Failures are handled in the same way: an exception counts against its item, a lost process or a full disk does not.
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

_POLL_S = 0.5


def dispatch_to_processes(
    processes: int,
    stop: StopRequest,
    worker: type[Worker[Item, Result]],
    arguments: Sequence[Any],
    items: Iterable[Item],
    on_result: Callable[[Item, Result], None],
    warm_up: Callable[[], None],
) -> Outcome[Item]:
    """Process all items with a pool of local processes; see `dispatcher.dispatch`.

    Args:
        processes: maximum number of worker processes.
        stop: stop request. Once a stop is requested, no further items are dispatched and the items in flight finish.
        worker: class of the workers.
        arguments: arguments with which each worker is created.
        items: items in order of dispatch; hashable and small.
        on_result: called in this process with each item and its result, in order of arrival.
        warm_up: called once in a process of its own before several workers start, to write files that all of them use,
            such as compiled kernels.

    Raises:
        RunError: a worker can't be created, or processes keep dying without a result.
        MachineError: raised by a worker or by `on_result`. The items in flight were finished, the rest was not started.
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
        # The fork server has no threads and imports the modules once: one import instead of 128 on a node of 128 cores.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([worker.__module__])
        self._busy: dict[Any, _Process[Item]] = {}
        self._failures: Counter[Item] = Counter()
        self._lost_in_a_row = 0
        self._halted: MachineError | None = None
        self.failed: list[FailedItem[Item]] = []

    def run(self, processes: int, stop: StopRequest, on_result: Callable[[Item, Result], None]) -> None:
        with _inherited_by_workers():
            forkserver.ensure_running()
        if processes > 1 and len(self.queue) > 1:
            # An error in this process occurs again in a worker, which reports it.
            first = self._context.Process(target=self._warm_up, daemon=True)
            first.start()
            first.join()
        for _ in range(min(processes, len(self.queue))):
            if not stop.requested:
                self._start(self.queue.popleft())
        while self._busy:
            for pipe in connection.wait(list(self._busy), _POLL_S):
                busy = self._busy.pop(pipe)
                try:
                    outcome = busy.pipe.recv()
                except (EOFError, OSError):
                    self._handle_loss(busy)
                    if not stop.requested and self._halted is None:
                        self._start(self.queue.popleft())
                    continue
                self._handle_outcome(busy.item, outcome, on_result)
                if self.queue and not stop.requested and self._halted is None:
                    self._send(busy, self.queue.popleft())
                else:
                    busy.pipe.close()
                    busy.process.join()
        if self._halted is not None:
            raise self._halted

    def close(self) -> None:
        for busy in self._busy.values():
            busy.process.kill()
            busy.process.join()
            busy.pipe.close()
        self._busy.clear()

    def _start(self, item: Item) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._worker, self._arguments), daemon=True)
        process.start()
        # With this end open, reading from the pipe of a dead process would never end.
        theirs.close()
        self._send(_Process(process, ours, item), item)

    def _send(self, busy: _Process[Item], item: Item) -> None:
        busy.item = item
        # The death of a process is detected when its outcome is read.
        with suppress(OSError):
            busy.pipe.send(item)
        self._busy[busy.pipe] = busy

    def _handle_outcome(self, item: Item, outcome: Any, on_result: Callable[[Item, Result], None]) -> None:
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
                remedy = "fix this error, then run the same command again to resume"
                raise RunError("workers", f"can't start ({error})", remedy)

    def _handle_loss(self, busy: _Process[Item]) -> None:
        busy.process.join()
        busy.pipe.close()
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= LOST_IN_A_ROW:
            raise RunError(
                "workers",
                f"{self._lost_in_a_row} lost in a row without a result (exit code {busy.process.exitcode})",
                "check the free memory, then run the same command again to resume",
            )
        self.queue.appendleft(busy.item)


def _serve(pipe: connection.Connection, worker: type[Worker[Item, Result]], arguments: Sequence[Any]) -> None:
    """Main function of a worker process: receive items and send outcomes until the pipe is closed."""
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
def _inherited_by_workers() -> Iterator[None]:
    """Context to start the fork server in: workers inherit a limit of one thread, and that signals are blocked.

    Signals are handled by this process only.
    """
    blocked = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR2}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in threads}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    os.environ |= threads
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        # Signals that arrived in the meantime are delivered now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
