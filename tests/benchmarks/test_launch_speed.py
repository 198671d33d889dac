"""Time of the rendezvous and of the ledgers of a job with up to a thousand nodes, which are simulated by threads.

--benchmark-enable gives figures, to be compared between sizes in the same run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import pytest

from rayspin.execution.processes import allow_many_files
from rayspin.launch.rendezvous import Host, Member
from rayspin.rundir import write_text
from rayspin.storage import Catalog, ShardRecord, ledger

NODES = [16, 256, 1000]
PROCESSES = 4


def run_members(path: Path, ranks: range) -> None:
    """Run members with these ranks in threads: each joins, receives the address, reports `up`, and leaves on `end`."""
    allow_many_files()

    def run_member(rank: int) -> None:
        member = Member.join(path, rank, 60)
        try:
            assert member.hear(60) == "join 10.0.0.1:6379"
            member.say("up")
            assert member.hear(60) == "end"
        finally:
            member.leave()

    threads = [threading.Thread(target=run_member, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        # Start the processes before times are measured.
        list(pool.map(len, [""] * PROCESSES))
        yield pool


@contextmanager
def seconds(table: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    table[name] = round(time.perf_counter() - start, 3)


@pytest.mark.benchmark(group="rendezvous: nodes join, receive the address and leave")
@pytest.mark.parametrize("nodes", NODES)
def test_rendezvous(benchmark, pool, tmp_path, nodes):
    allow_many_files()
    durations: dict[str, float] = {}

    def rendezvous() -> None:
        path = tmp_path / "rendezvous.json"
        path.unlink(missing_ok=True)
        members = [pool.submit(run_members, path, range(1 + first, nodes, PROCESSES)) for first in range(PROCESSES)]
        deadline, cpu = time.monotonic() + 60, time.thread_time()

        def turn_until(condition) -> None:
            while not condition():
                assert time.monotonic() < deadline, (len(host.present), len(host.up))
                host.turn(0.02)

        with Host("127.0.0.1") as host, host.endpoint.published(path):
            with seconds(durations, "join"):
                turn_until(lambda: len(host.present) == nodes - 1)
            with seconds(durations, "receive and answer"):
                host.tell("join 10.0.0.1:6379")
                turn_until(lambda: len(host.up) == nodes - 1)
            with seconds(durations, "leave"):
                host.dismiss(seconds=60)
            assert host.present == {}
        durations["CPU of the host"] = round(time.thread_time() - cpu, 3)
        for member in members:
            member.result(60)

    benchmark.pedantic(rendezvous, rounds=3)
    benchmark.extra_info.update(durations)


SHARDS_PER_TASK = 3


def record(first: int) -> ShardRecord:
    return ShardRecord(f"shard-{first:08d}.nc", first, 1, 2**20, "0" * 64, "0" * 64, {"spins": 0, "energy": 0})


@pytest.mark.benchmark(group="ledgers of the tasks of an array, read together and merged")
@pytest.mark.parametrize("tasks", NODES)
def test_ledgers(benchmark, tmp_path, tasks):
    durations: dict[str, float] = {}

    def write_and_merge() -> None:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()

        def work(task: int) -> None:
            own = folder / ledger.own_ledger()
            for shard in range(SHARDS_PER_TASK):
                ledger.append(own, asdict(record(task * SHARDS_PER_TASK + shard)))

        threads = [threading.Thread(target=work, args=(task,)) for task in range(tasks)]
        with seconds(durations, "append, synced"):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        with seconds(durations, "read"):
            assert len(Catalog.entered(folder).records) == tasks * SHARDS_PER_TASK
        with seconds(durations, "merge"):
            ledger.merge(folder)
        assert [path.name for path in folder.iterdir()] == [ledger.LEDGER]
        assert len(Catalog.entered(folder).records) == tasks * SHARDS_PER_TASK

    benchmark.pedantic(write_and_merge, rounds=3)
    benchmark.extra_info.update(durations)


@pytest.mark.benchmark(group="lines of one ledger, written by the driver of a Ray cluster")
def test_one_ledger(benchmark, tmp_path):
    write_text(tmp_path / ledger.LEDGER, "")
    benchmark.pedantic(lambda: ledger.append(tmp_path / ledger.LEDGER, asdict(record(0))), rounds=100)
