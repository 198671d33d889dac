"""Dispatch of items to processes of one machine without Ray: the counterpart of `dispatcher.dispatch` for one node."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from typing import Any, Generic

from rayspin.errors import MachineError
from rayspin.execution.stopping import StopRequest
from rayspin.execution.work_queue import Item, Result, Unfinished, Worker, WorkQueue

_POLL_S = 0.5


def dispatch_to_processes(
    processes: int,
    stop: StopRequest,
    worker: type[Worker[Item, Result]],
    arguments: Sequence[Any],
    items: Iterable[Item],
    on_result: Callable[[Item, Result], None],
    warm_up: Callable[[], None],
) -> Unfinished[Item]:
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
    queue = WorkQueue(items, stop, on_result)
    pool = _ProcessPool(worker, arguments, queue, warm_up)
    try:
        with stop.draining():
            pool.run(processes)
    finally:
        pool.close()
    return queue.unfinished()


@dataclass
class _Process(Generic[Item]):
    process: Any
    pipe: connection.Connection
    successes_before: int
    """Successes of the whole pool when this process was started."""
    item: Item


class _ProcessPool(Generic[Item, Result]):
    def __init__(
        self,
        worker: type[Worker[Item, Result]],
        arguments: Sequence[Any],
        queue: WorkQueue[Item, Result],
        warm_up: Callable[[], None],
    ) -> None:
        self._worker, self._arguments, self._queue, self._warm_up = worker, arguments, queue, warm_up
        # The fork server has no threads and imports the modules once: one import instead of 128 on a node of 128 cores.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([worker.__module__])
        self._busy: dict[Any, _Process[Item]] = {}

    def run(self, processes: int) -> None:
        with _inherited_by_workers():
            forkserver.ensure_running()
        if processes > 1 and len(self._queue) > 1:
            # An error in this process occurs again in a worker, which reports it.
            first = self._context.Process(target=self._warm_up, daemon=True)
            first.start()
            first.join()
        for item in self._queue.take(processes):
            self._start(item)
        while self._busy:
            for pipe in connection.wait(list(self._busy), _POLL_S):
                self._handle_reply(self._busy.pop(pipe))

    def close(self) -> None:
        for busy in self._busy.values():
            busy.process.kill()
            _join(busy)
        self._busy.clear()

    def _start(self, item: Item) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._worker, self._arguments), daemon=True)
        process.start()
        # With this end open, reading from the pipe of a dead process would never end.
        theirs.close()
        self._send(_Process(process, ours, self._queue.successes, item))

    def _send(self, busy: _Process[Item]) -> None:
        # The death of a process is detected when its reply is read.
        with suppress(OSError):
            busy.pipe.send(busy.item)
        self._busy[busy.pipe] = busy

    def _handle_reply(self, busy: _Process[Item]) -> None:
        try:
            reply = busy.pipe.recv()
        except (EOFError, OSError):
            _join(busy)
            self._queue.lost([busy.item], busy.successes_before, f"exit code {busy.process.exitcode}")
            for item in self._queue.take():
                self._start(item)
            return
        match reply:
            case ("made", result):
                self._queue.succeeded([busy.item], [result])
            case ("failed", error, trace):
                self._queue.failed(busy.item, error, trace)
            case ("refused", error):
                self._queue.halt(busy.item, error)
            case (_, error):
                raise self._queue.cannot_start(error)
        if items := self._queue.take():
            (busy.item,) = items
            self._send(busy)
        else:
            _join(busy)


def _join(busy: _Process[Any]) -> None:
    """Close the pipe of a process, which ends it if it still runs, and wait for its end."""
    busy.pipe.close()
    busy.process.join()


def _serve(pipe: connection.Connection, worker: type[Worker[Item, Result]], arguments: Sequence[Any]) -> None:
    """Main function of a worker process: receive items and send replies until the pipe is closed."""
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
                reply: tuple[Any, ...] = "made", made.work(item)
            except MachineError as error:
                reply = "refused", error
            except Exception as error:
                reply = "failed", f"{type(error).__name__}: {error}", traceback.format_exc()
            pipe.send(reply)


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
