"""How long a job waits for its nodes, and with how many it starts. With real connections; Ray's part is a stand-in."""

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

LIVING: Any = SimpleNamespace(ended=lambda: None)


def node(folder: Path, min_nodes: int | None) -> _Node:
    """Rank 0 of three nodes, whose time to start is over."""
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


def test_at_the_end_of_its_time_a_job_starts_with_enough_nodes(tmp_path: Path) -> None:
    with host_with_one_node_up(tmp_path) as host:
        _wait_for_nodes(node(tmp_path, min_nodes=2), host, LIVING)


@pytest.mark.parametrize("min_nodes", [None, 3])
def test_with_fewer_it_fails(tmp_path: Path, min_nodes: int | None) -> None:
    with host_with_one_node_up(tmp_path) as host, pytest.raises(RunError, match="2 of 3 nodes came up"):
        _wait_for_nodes(node(tmp_path, min_nodes), host, LIVING)
