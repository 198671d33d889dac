"""Helpers to submit jobs to the Slurm clusters of the tests and to follow them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from rayspin.config import build
from rayspin.launch.job_requests import JobRequest
from rayspin.launch.options import SubmitOptions
from rayspin.launch.submissions import Submission
from rayspin.launch.submit import submit
from rayspin.physics import LABYRINTH, AnnealSchedule, anneal
from rayspin.storage import open_dataset
from rayspin.storage.ledger import entries
from tests.support.runs import wait_until
from tests.support.slurm.lab import Lab
from tests.support.submissions import event_lines

JOB = """
kind = "generate"
samples = 8
size = 32
seed = 7
shard_samples = 1
hamiltonian = "labyrinth"
schedule = { sweeps = 50, quench_sweeps = 50 }
"""
LONG = ("samples=60", "size=64", "schedule.sweeps=6000")
"""Overrides that make half a minute of work on two nodes with two CPUs each."""


def start(folder: Path, *overrides: str, text: str = JOB, **table: Any) -> Submission:
    """Submit a job file as a single job, by default on two whole nodes."""
    (folder / "job.toml").write_text(text)
    return submit(folder / "job.toml", folder / "run", overrides, [JobRequest("", options(**table))])


def options(**table: Any) -> SubmitOptions:
    return build(SubmitOptions, {"nodes": 2, "time": "30", "scratch": "/var/tmp", **table}, "options")


def events(submission: Submission, name: str, part: int = 0) -> list[dict[str, Any]]:
    return [line for line in event_lines(submission.parts[part].folder) if line["event"] == name]


def wait_for(submission: Submission, event: str, count: int = 1) -> dict[str, Any]:
    """Wait for the `count`-th event of that name, and return it."""
    wait_until(lambda: len(events(submission, event)) >= count, lambda: logs_and_events(submission))
    return events(submission, event)[count - 1]


def logs_and_events(submission: Submission) -> str:
    """The contents of all logs and event files of a submission, for messages of failed assertions."""
    files = [path for path in sorted(submission.folder.rglob("*")) if path.suffix in {".out", ".jsonl"}]
    return "\n".join(f"== {path}\n{path.read_text()}" for path in files)


def shards_done(folder: Path) -> int:
    return len(list(entries(folder / "run")))


def wait_for_shards(slurm: Lab, submission: Submission, count: int) -> None:
    run = submission.folder.parents[1]
    wait_until(lambda: shards_done(run.parent) >= count, lambda: logs_and_events(submission) + slurm.run("squeue"))


def restart_now(slurm: Lab, submission: Submission) -> None:
    """Release a requeued job, which Slurm would hold for two minutes, and wait for its second start."""

    def restarted() -> bool:
        if len(events(submission, "started")) == 2:
            return True
        if _held(slurm, submission.job_ids):
            _start(slurm, submission.job_ids)
        return False

    wait_until(restarted, lambda: logs_and_events(submission) + slurm.run("scontrol", "show", "job"))


def release(slurm: Lab, job_id: str, *changes: str) -> None:
    """Release a requeued job, which Slurm would hold for two minutes, and change its request, as in `TimeLimit=30`."""
    wait_until(lambda: _held(slurm, job_id), lambda: slurm.run("scontrol", "show", "job"))
    _start(slurm, job_id, *changes)


def _held(slurm: Lab, job_id: str) -> bool:
    """Whether a job is requeued and its last attempt is over.

    The hold keeps attempts apart: if the job starts while a node still has to report the end of the batch script of
    the last attempt, Slurm takes the report for the end of the new attempt, and the job fails.
    """
    if "BeginTime" not in slurm.run("squeue", "--noheader", "--format=%r", f"--jobs={job_id}"):
        return False
    return not any(slurm.run_on(node, "pgrep", "-f", r"^slurmstepd: \[").stdout for node in slurm.running())


def _start(slurm: Lab, job_id: str, *changes: str) -> None:
    slurm.run("scontrol", "update", f"JobId={job_id}", "StartTime=now", *changes)


def final_state(slurm: Lab, submission: Submission) -> str:
    """Wait for the final state of a job in the accounting, which is recorded some seconds after its end."""
    transient = {"", "RUNNING", "PENDING", "COMPLETING", "REQUEUED"}
    wait_until(lambda: accounting_field(slurm, submission.job_ids, "State").partition(" ")[0] not in transient)
    return accounting_field(slurm, submission.job_ids, "State").partition(" ")[0]


def accounting_field(slurm: Lab, job_id: str, what: str) -> str:
    """A field of the accounting record of a job, or of the first task of an array."""
    return slurm.run(
        "sacct", "--noheader", "--parsable2", "--allocations", f"--format={what}", f"--jobs={job_id}"
    ).partition("\n")[0]


def assert_samples_are_right(folder: Path, count: int, *overrides: str) -> None:
    job = tomllib.loads(JOB) | tomllib.loads("\n".join(overrides))
    schedule = AnnealSchedule(**(tomllib.loads(JOB)["schedule"] | job["schedule"]))
    expected = [anneal(LABYRINTH, size=job["size"], schedule=schedule, seed=(7, sample)) for sample in range(count)]
    np.testing.assert_array_equal(open_dataset(folder / "run")["spins"].values[:count], np.stack(expected))


def rayspin(slurm: Lab, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command `rayspin` on the login node."""
    return subprocess.run(
        [sys.executable, "-m", "rayspin", *map(str, arguments)],
        env=slurm.environment(), capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip


def site_profile(folder: Path, text: str = "") -> Path:
    profile = folder / "site.toml"
    profile.write_text(f'time = "30"\nscratch = "/var/tmp"\n{text}')
    return profile
