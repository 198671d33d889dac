"""A job of a thousand nodes, threads in place of nodes: how its nodes meet, and what its ledgers cost.

Run with --benchmark-enable for figures; each size beside smaller ones, of the same run.
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


def stay(path: Path, ranks: range) -> None:
    """Tasks of a job, a thread each: they find the host, hear the address, say that they are up, leave when told."""
    allow_many_files()

    def one(rank: int) -> None:
        member = Member.join(path, rank, 60)
        try:
            assert member.hear(60) == "join 10.0.0.1:6379"
            member.say("up")
            assert member.hear(60) == "end"
        finally:
            member.leave()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        # Started before any clock is.
        list(pool.map(len, [""] * PROCESSES))
        yield pool


@contextmanager
def seconds(table: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    table[name] = round(time.perf_counter() - start, 3)


@pytest.mark.benchmark(group="nodes of a job meet, hear the address, and part")
@pytest.mark.parametrize("nodes", NODES)
def test_rendezvous(benchmark, pool, tmp_path, nodes):
    allow_many_files()
    taken: dict[str, float] = {}

    def meet() -> None:
        path = tmp_path / "rendezvous.json"
        path.unlink(missing_ok=True)
        members = [pool.submit(stay, path, range(1 + first, nodes, PROCESSES)) for first in range(PROCESSES)]
        deadline, cpu = time.monotonic() + 60, time.thread_time()

        def until(condition) -> None:
            while not condition():
                assert time.monotonic() < deadline, (len(host.present), len(host.up))
                host.turn(0.02)

        with Host("127.0.0.1") as host, host.endpoint.published(path):
            with seconds(taken, "meet"):
                until(lambda: len(host.present) == nodes - 1)
            with seconds(taken, "hear and answer"):
                host.tell("join 10.0.0.1:6379")
                until(lambda: len(host.up) == nodes - 1)
            with seconds(taken, "part"):
                host.dismiss(seconds=60)
            assert host.present == {}
        taken["CPU of the host"] = round(time.thread_time() - cpu, 3)
        for member in members:
            member.result(60)

    benchmark.pedantic(meet, rounds=3)
    benchmark.extra_info.update(taken)


SHARDS_A_TASK = 3


def record(first: int) -> ShardRecord:
    return ShardRecord(f"shard-{first:08d}.nc", first, 1, 2**20, "0" * 64, "0" * 64, {"spins": 0, "energy": 0})


@pytest.mark.benchmark(group="ledgers of an array's tasks, read together and folded into one")
@pytest.mark.parametrize("tasks", NODES)
def test_ledgers(benchmark, tmp_path, tasks):
    taken: dict[str, float] = {}

    def keep() -> None:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()

        def work(task: int) -> None:
            mine = folder / ledger.own_ledger()
            for shard in range(SHARDS_A_TASK):
                ledger.append(mine, asdict(record(task * SHARDS_A_TASK + shard)))

        threads = [threading.Thread(target=work, args=(task,)) for task in range(tasks)]
        with seconds(taken, "append, synced"):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        with seconds(taken, "read"):
            assert len(Catalog.entered(folder).records) == tasks * SHARDS_A_TASK
        with seconds(taken, "fold"):
            ledger.merge(folder)
        assert [path.name for path in folder.iterdir()] == [ledger.LEDGER]
        assert len(Catalog.entered(folder).records) == tasks * SHARDS_A_TASK

    benchmark.pedantic(keep, rounds=3)
    benchmark.extra_info.update(taken)


@pytest.mark.benchmark(group="lines of one ledger: a Ray cluster's driver alone writes")
def test_one_ledger(benchmark, tmp_path):
    write_text(tmp_path / ledger.LEDGER, "")
    benchmark.pedantic(lambda: ledger.append(tmp_path / ledger.LEDGER, asdict(record(0))), rounds=100)
