"""A dispatcher in the process of the test that can be stopped."""

from __future__ import annotations

from typing import Any

from rayspin.execution.work_queue import Unfinished


class Dispatcher:
    """Works through at most `most` items in this process, and remembers them."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.most = 100

    def __call__(self, session, stop, worker, arguments, items, on_result):
        made = worker(*arguments)
        for item in items[: self.most]:
            self.done.append(item)
            on_result(item, made.work(item))
        return Unfinished([], list(items[self.most :]))
