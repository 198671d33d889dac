"""Claims of run folders by one run or by several tasks, with and without file locks."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from rayspin import claims
from rayspin.claims import HeldError, Holder, claim, described, holders

spawn = multiprocessing.get_context("spawn")


def _hold(folder: Path, task: str, pipe: Connection) -> None:
    with claim(folder, task):
        pipe.send("held")
        pipe.recv()


@contextmanager
def held(folder: Path, task: str = "") -> Iterator[int]:
    """Hold a claim in another process, and yield its process ID."""
    pipe, child_pipe = spawn.Pipe()
    process = spawn.Process(target=_hold, args=(folder, task, child_pipe))
    process.start()
    try:
        assert pipe.poll(30)
        assert process.pid is not None
        yield process.pid
    finally:
        with suppress(OSError):
            pipe.send("release")
        process.join()


def test_tasks_share_a_folder_but_not_with_a_run(tmp_path: Path) -> None:
    with held(tmp_path, "shards 0:4") as other:
        with claim(tmp_path, "shards 4:8"):
            assert {holder.task for holder in holders(tmp_path)} == {"shards 0:4", "shards 4:8"}
            assert described(holders(tmp_path)).startswith("2 tasks (process ")
        with (
            pytest.raises(HeldError, match=rf"in use by process {other} on .* \(shards 0:4, since "),
            claim(tmp_path),
        ):
            pass
    with held(tmp_path) as other, pytest.raises(HeldError, match=f"process {other} "), claim(tmp_path, "shards 4:8"):
        pass
    assert holders(tmp_path) == {}


def test_claim_of_a_dead_process_is_ignored(tmp_path: Path) -> None:
    with held(tmp_path) as other:
        os.kill(other, signal.SIGKILL)
        with claim(tmp_path, patience_s=5):
            assert [holder.process for holder in holders(tmp_path)] == [os.getpid()]
    assert not list(tmp_path.glob(".holder-*"))


def test_claim_waits_for_another_one_to_end(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(held(tmp_path))
        threading.Timer(0.5, stack.pop_all().close).start()
        with claim(tmp_path, "shards 0:1", patience_s=30):
            pass


def test_notes_of_other_hosts_are_valid_while_they_are_updated(tmp_path: Path) -> None:
    elsewhere = replace(Holder.this("shards 0:4"), host="elsewhere")
    note = tmp_path / ".holder-elsewhere-1-abc"
    note.write_text(json.dumps(asdict(elsewhere)))
    assert list(holders(tmp_path)) == [elsewhere]
    long_ago = time.time() - 10 * claims.LEASE_S
    os.utime(note, (long_ago, long_ago))
    assert holders(tmp_path) == {}
    # A process with the same ID and another start time is a different process.
    local = replace(elsewhere, host=Holder.this("").host, started="1")
    note.write_text(json.dumps(asdict(local)))
    assert holders(tmp_path) == {}


def test_description_of_a_holder_has_its_slurm_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    assert "(job 17, since" in str(Holder.this(""))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "16")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert "(shards 0:4, job 16_3, since" in str(Holder.this("shards 0:4"))


def test_leases_replace_locks_on_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, mode: int) -> None:
        raise OSError(errno.ENOSYS, "no locks on this mount")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(claims, "LEASE_S", 1.0)
    monkeypatch.setattr(claims, "BEAT_S", 0.2)
    with claim(tmp_path, "shards 0:4"), claim(tmp_path, "shards 4:8"), pytest.raises(HeldError), claim(tmp_path):
        pass
    with claim(tmp_path), pytest.raises(HeldError), claim(tmp_path, "shards 0:4"):
        pass
    with claim(tmp_path):
        pass
