"""Generation without Ray and without other processes: the shards are made here, one after another, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rayspin.execution.dispatcher import Outcome
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
) -> Outcome[Any]:
    made = worker(*arguments)
    for item in items:
        on_result(item, made.work(item))
    return Outcome([], [])


def make_shards_here(patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let `Generate.run` make its shards in this process; `patch` is pytest's, where that is to end with a test."""
    patch(generate, "dispatch", serially)
    patch(generate, "warm_up_nodes", lambda *_: None)
