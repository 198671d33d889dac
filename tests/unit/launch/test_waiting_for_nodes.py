"""Waiting of a job for its nodes, and the number of nodes with which it starts. Ray is replaced by a stub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayspin.errors import RunError
from rayspin.launch.options import SupervisorOptions
from rayspin.launch.rendezvous import Host, Member
from rayspin.launch.supervisor import ClusterJob, TaskInfo, _Node, _wait_for_nodes
from tests.support.rendezvous import LOCALHOST, turn_until

RUNNING_RAY: Any = SimpleNamespace(ended=lambda: None)


def node(folder: Path, min_nodes: int | None) -> _Node:
    """Rank 0 of three nodes, after the time to start has expired."""
    job = ClusterJob(
        command=(), out=folder, folder=folder, options=SupervisorOptions(min_nodes=min_nodes), start_seconds=0.0
    )
    received: Any = SimpleNamespace(any=lambda: False)
    return _Node(job, TaskInfo("1", 0, 0, 3, 1), received, folder)


@contextmanager
def host_with_one_node_up(folder: Path) -> Iterator[Host]:
    with Host(LOCALHOST) as host, host.endpoint.published(folder / "rendezvous.json"):
        member = Member.join(folder / "rendezvous.json", 1, 20)
        member.say("up")
        turn_until(host, lambda: host.up == {1})
        yield host
        member.leave()


def test_job_starts_after_the_timeout_with_enough_nodes(tmp_path: Path) -> None:
    with host_with_one_node_up(tmp_path) as host:
        _wait_for_nodes(node(tmp_path, min_nodes=2), host, RUNNING_RAY)


@pytest.mark.parametrize("min_nodes", [None, 3])
def test_job_fails_after_the_timeout_with_too_few_nodes(tmp_path: Path, min_nodes: int | None) -> None:
    with host_with_one_node_up(tmp_path) as host, pytest.raises(RunError, match="2 of 3 nodes came up"):
        _wait_for_nodes(node(tmp_path, min_nodes), host, RUNNING_RAY)
