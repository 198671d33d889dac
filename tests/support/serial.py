"""Generation of shards in order in this process, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rayspin.execution.work_queue import Unfinished
from rayspin.jobs.generate import job as generate


def serially(
    session: object,
    stop: object,
    worker: Callable[..., Any],
    arguments: Iterable[Any],
    items: Iterable[Any],
    on_result: Callable[[Any, Any], None],
    *,
    gpu: bool = False,
) -> Unfinished[Any]:
    made = worker(*arguments)
    for item in items:
        on_result(item, made.work(item))
    return Unfinished([], [])


def make_shards_here(patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make `Generate.run` generate its shards in this process. Pass pytest's `setattr` to undo this after a test."""
    patch(generate, "dispatch", serially)
    patch(generate, "warm_up_nodes", lambda *_: None)
