"""A Ray cluster of two nodes on this machine, in a separate process: `python -m tests.support.two_nodes`.

The process prints the address of the cluster, kills the second node after the first line of its standard input, and
ends after the second line.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ray.cluster_utils import Cluster

from tests.support.repository import REPOSITORY
from tests.support.runs import environment

NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}
"""Environment variables that a driver needs to connect to the cluster."""


class TwoNodes:
    """Control of the cluster from another process.

    Attributes:
        address: "host:port" of the head of the cluster.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout
        self.address = self._output.readline().strip()

    def kill_second_node(self) -> None:
        """Kill the second node."""
        self._input.write("\n")
        self._input.flush()
        assert self._output.readline() == "lost\n"


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """Run the cluster while the block runs."""
    command = [sys.executable, "-m", "tests.support.two_nodes"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment(**NO_TOKEN), stdin=pipe, stdout=pipe, text=True
    ) as process:
        # The process ends when its standard input is closed at the end of the block.
        yield TwoNodes(process)


def _main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        print(cluster.address, flush=True)
        if sys.stdin.readline():
            cluster.remove_node(node, allow_graceful=False)
            print("lost", flush=True)
            sys.stdin.readline()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    _main()
