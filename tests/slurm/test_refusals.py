"""Requests that Slurm, its nodes or a site refuse are reported in one line."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from rayspin.errors import InputError
from rayspin.job import load
from rayspin.launch.job_requests import SiteProfile, job_requests
from rayspin.launch.submissions import cancel, latest, state
from rayspin.launch.submit import submit
from rayspin.status import describe
from tests.support.repository import REPOSITORY
from tests.support.runs import wait_until
from tests.support.slurm.jobs import (
    assert_samples_are_right,
    events,
    final_state,
    logs_and_events,
    rayspin,
    release,
    start,
    wait_for,
)
from tests.support.slurm.lab import Lab


def test_requeues_stop_after_attempts_without_progress(slurm: Lab, tmp_path: Path) -> None:
    # One shard takes far longer than the walltime.
    huge = ("samples=1", "size=256", "schedule.sweeps=4000000")
    submission = start(tmp_path, *huge, nodes=1, array=1, max_attempts_without_progress=2, drain_seconds=30)
    (part,) = submission.parts
    wait_for(submission, "started")
    slurm.run("scancel", "--signal=USR2", part.job_id)
    release(slurm, part.job_id)
    wait_for(submission, "started", count=2)
    slurm.run("scancel", "--signal=USR2", part.job_id)
    wait_until(lambda: state(submission).final, lambda: logs_and_events(submission))
    assert (state(submission).name, len(events(submission, "requeued"))) == ("failed", 1)
    assert "2 attempts in a row made no progress" in state(submission).why
    assert final_state(slurm, submission) == "FAILED"


def test_request_refused_by_slurm_is_a_one_line_error(slurm: Lab, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="invalid partition specified: nowhere") as error:
        start(tmp_path, partition="nowhere")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="Memory specification can not be satisfied"):
        start(tmp_path, memory_per_node="1000G")
    with pytest.raises(InputError, match="this run was never submitted"):
        latest(tmp_path / "run")
    refused = rayspin(slurm, "submit", tmp_path / "job.toml", "--out", tmp_path / "run", "--partition", "nowhere")
    problem = "refused by sbatch (invalid partition specified: nowhere)"
    assert (refused.returncode, refused.stdout, refused.stderr) == (
        2, "", f"submit: {problem}; change the options or the site profile\n"
    )  # fmt: skip
    # No files are left.
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="no run in this folder"):
        describe(tmp_path / "run")


def test_invalid_account_is_a_one_line_error(with_accounts: Lab, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Invalid account") as error:
        start(tmp_path, account="spinz")
    assert "\n" not in str(error.value)
    # The second of three stages is refused, so the first one is canceled.
    (tmp_path / "pipeline.toml").write_text((REPOSITORY / "jobs" / "smoke" / "pipeline.toml").read_text())
    site = SiteProfile({"account": "spins", "time": "30", "scratch": "/var/tmp"}, {"train-*": {"account": "spinz"}})
    stages = job_requests(load(tmp_path / "pipeline.toml"), site, {})
    with pytest.raises(InputError, match=r"submit train: refused by sbatch \(Invalid account"):
        submit(tmp_path / "pipeline.toml", tmp_path / "stages", (), stages)
    wait_until(lambda: state(latest(tmp_path / "stages")).final)
    assert state(latest(tmp_path / "stages")).name == "stopped"


def test_folder_not_shared_with_the_nodes_is_reported_in_one_line(slurm: Lab) -> None:
    # Each node and this machine have separate folders /var/tmp.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        submission = start(Path(folder))
        wait_until(lambda: state(submission).final, lambda: slurm.run("scontrol", "show", "job"))
        assert state(submission).name == "gone"
        assert state(submission).why == f"it never started: check that the nodes share {submission.folder}"


def test_job_does_not_start_if_its_environment_setup_fails(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, modules=["python/0.9"])
    wait_until(lambda: state(submission).final, lambda: slurm.run("scontrol", "show", "job"))
    assert state(submission).name == "gone"
    assert state(submission).why.startswith("it never started: ")
    # These nodes have no environment modules.
    assert state(submission).why.endswith("module: command not found")


def test_job_runs_without_a_failed_node_if_min_nodes_are_up(slurm: Lab, tmp_path: Path) -> None:
    scratch = "/var/tmp/only-n1"
    slurm.run_on("n1", "mkdir", scratch)
    try:
        submission = start(tmp_path, min_nodes=1, scratch=scratch)
        assert wait_for(submission, "ended")["code"] == 0, logs_and_events(submission)
    finally:
        slurm.run_on("n1", "rm", "-r", scratch)
    assert events(submission, "ready")[0]["hosts"] == ["n1"]
    assert f"scratch {scratch}: is not a writable folder" in logs_and_events(submission)
    assert_samples_are_right(tmp_path, 8)


def test_queued_job_reports_its_pending_reason_until_canceled(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, nodes=3)
    wait_until(lambda: state(submission).why)
    # The reason depends on the version of Slurm.
    assert state(submission).why in {"PartitionConfig", "PartitionNodeLimit"}
    assert re.fullmatch(
        r"queued \(Partition\w+: the job requests more .*than the partition.*; cancel it .*\)", str(state(submission))
    )
    cancel(submission)
    wait_until(lambda: state(submission).final)
    assert state(submission).name == "stopped"


def test_job_runs_on_a_cluster_without_accounting(without_accounting: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path)
    assert wait_for(submission, "ended")["code"] == 0, logs_and_events(submission)
    wait_until(lambda: not without_accounting.run("squeue", "--noheader"))
