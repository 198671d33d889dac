"""Requeueing of Slurm jobs, depending on how an attempt ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayspin.launch import attempts
from rayspin.launch.attempts import in_slurm
from rayspin.launch.events import Ended, Requeued, Started, read_events, record_event
from rayspin.launch.exit_codes import DONE, FAILED, INCOMPLETE
from rayspin.launch.options import SupervisorOptions
from rayspin.launch.progress_mark import progress_mark
from rayspin.launch.supervisor import ClusterJob, TaskInfo

TASK = TaskInfo(job_id="17", attempt=0, rank=0, nodes=1, cpus=1)


@pytest.fixture
def job(tmp_path: Path) -> ClusterJob:
    for name in ("run", "submission"):
        (tmp_path / name).mkdir()
    return ClusterJob(
        ("true",), tmp_path / "run", tmp_path / "submission", options=SupervisorOptions(max_attempts_without_progress=2)
    )


def started_event(job: ClusterJob) -> Started:
    return Started(host="n1", process=1, nodes=1, mark=progress_mark(job.out))


class Slurm:
    """A fake Slurm that reports the given job state and records requeued jobs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int, state: str) -> None:
        self.requeued: list[str] = []
        monkeypatch.setattr(attempts, "supervise", lambda *_: code)
        monkeypatch.setattr(attempts.scheduler, "queue", lambda ids: dict.fromkeys(ids, (state, "None")))
        monkeypatch.setattr(attempts.scheduler, "requeue", self.requeued.append)


def run_attempt(job: ClusterJob) -> int:
    requests: Any = None
    return in_slurm(job, TASK, requests)


def test_incomplete_job_is_requeued(job: ClusterJob, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = Slurm(monkeypatch, INCOMPLETE, "RUNNING")
    assert run_attempt(job) == INCOMPLETE
    assert slurm.requeued == ["17"]
    assert read_events(job.folder) == [Requeued()]


@pytest.mark.parametrize("code", [DONE, FAILED])
def test_finished_or_failed_job_is_not_requeued(job: ClusterJob, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    slurm = Slurm(monkeypatch, code, "RUNNING")
    assert run_attempt(job) == code
    assert slurm.requeued == []


def test_canceled_job_is_not_requeued(job: ClusterJob, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = Slurm(monkeypatch, INCOMPLETE, "COMPLETING")
    assert run_attempt(job) == INCOMPLETE
    assert slurm.requeued == []


def test_job_fails_after_attempts_without_progress(job: ClusterJob, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = Slurm(monkeypatch, INCOMPLETE, "RUNNING")
    record_event(job.folder, started_event(job))
    assert run_attempt(job) == INCOMPLETE
    record_event(job.folder, started_event(job))
    assert run_attempt(job) == FAILED
    assert slurm.requeued == ["17"]
    last = read_events(job.folder)[-1]
    assert isinstance(last, Ended)
    assert "2 attempts in a row made no progress" in last.problem
    # With one more shard in the ledger, the job is requeued again.
    (job.out / "ledger.jsonl").write_text("{}\n")
    assert run_attempt(job) == INCOMPLETE
    assert slurm.requeued == ["17", "17"]
