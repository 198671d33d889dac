"""Jobs on a real Slurm cluster of two nodes: Ray on both nodes, walltime, preemption, cancellation and failures."""

from __future__ import annotations

import json
import math
import re
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from rayspin.launch.submissions import latest, state
from rayspin.status import describe
from rayspin.storage.ledger import entries
from tests.support.repository import REPOSITORY
from tests.support.runs import wait_until
from tests.support.slurm.jobs import (
    JOB,
    LONG,
    assert_samples_are_right,
    events,
    final_state,
    logs_and_events,
    rayspin,
    release,
    restart_now,
    shards_done,
    site_profile,
    start,
    wait_for,
    wait_for_shards,
)
from tests.support.slurm.lab import Lab


def test_job_runs_on_both_nodes_and_leaves_no_processes(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path)
    assert wait_for(submission, "ended")["code"] == 0, logs_and_events(submission)
    assert events(submission, "ready")[0]["hosts"] == ["n1", "n2"]
    made_on = {entry["host"] for entry in entries(tmp_path / "run")}
    assert made_on == {"n1", "n2"}
    assert_samples_are_right(tmp_path, 8)
    assert final_state(slurm, submission) == "COMPLETED"


def test_canceled_job_ends_on_all_nodes_without_requeue(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    assert state(submission).name == "running"
    slurm.run("scancel", submission.job_ids)
    wait_until(lambda: state(submission).name == "stopped", lambda: logs_and_events(submission))
    assert final_state(slurm, submission) == "CANCELLED"
    assert not events(submission, "requeued")


def test_job_is_requeued_before_its_walltime_and_resumes(slurm: Lab, tmp_path: Path) -> None:
    # No machine completes this number of samples before the walltime.
    submission = start(tmp_path, *LONG, "samples=20000", drain_seconds=40)
    wait_for_shards(slurm, submission, 2)
    # Slurm enforces this limit with its usual signal. Submissions can't request a limit as short as this.
    age = time.time() - events(submission, "started")[0]["time"]
    limit = math.ceil((age + 50) / 60)
    slurm.run("scontrol", "update", f"JobId={submission.job_ids}", f"TimeLimit={limit}")
    assert wait_for(submission, "draining")["reason"] == "walltime"
    release(slurm, submission.job_ids, "TimeLimit=30")
    assert [event["code"] for event in events(submission, "ended")] == [75]
    before = {entry["file"] for entry in entries(tmp_path / "run")}
    wait_for_shards(slurm, submission, len(before) + 10)
    slurm.run("scancel", submission.job_ids)
    wait_until(lambda: state(submission).name == "stopped", lambda: logs_and_events(submission))
    files = [entry["file"] for entry in entries(tmp_path / "run")]
    assert len(files) == len(set(files)), "a shard was generated twice"
    # The last shard was made after the requeue; its bytes are the same as those of a run on this machine.
    last = max(set(files) - before)
    number = int(re.sub(r"\D", "", last)) + 1
    settings = [part for override in (*LONG, "samples=20000") for part in ("--set", override)]
    shard = f"{number}/20000"
    rayspin(slurm, "run", tmp_path / "job.toml", "--out", tmp_path / "local", *settings, "--shards", shard)
    assert (tmp_path / "local" / last).read_bytes() == (tmp_path / "run" / last).read_bytes()


def test_job_finishes_without_a_node_that_lost_power(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.switch_off("n2")
    assert wait_for(submission, "ended")["code"] == 0, logs_and_events(submission)
    assert shards_done(tmp_path) == 60


def test_job_is_requeued_when_the_first_node_loses_power(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.switch_off("n1")
    wait_until(
        lambda: "PENDING" in slurm.run("squeue", "--noheader", "--format=%T"), lambda: logs_and_events(submission)
    )
    slurm.switch_on("n1")
    restart_now(slurm, submission)
    assert wait_for(submission, "ended")["code"] == 0, logs_and_events(submission)
    assert shards_done(tmp_path) == 60


def test_preempted_job_drains_and_resumes(slurm: Lab, tmp_path: Path) -> None:
    assert preempt(slurm, tmp_path)["reason"] == "walltime"


def test_job_preempted_with_sigterm_drains_and_resumes(without_warning: Lab, tmp_path: Path) -> None:
    assert preempt(without_warning, tmp_path)["reason"] == "stop"


def preempt(slurm: Lab, folder: Path) -> dict[str, Any]:
    """Preempt a job by another job, wait until it has resumed and ended, and return its event `draining`."""
    submission = start(folder, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.run("srun", "--partition=high", "--nodes=2", "--exclusive", "hostname", timeout=60)
    draining = events(submission, "draining")
    assert len(draining) == 1, logs_and_events(submission)
    restart_now(slurm, submission)
    assert wait_for(submission, "ended", count=2)["code"] == 0, logs_and_events(submission)
    assert shards_done(folder) == 60
    assert "started on n1 with 2 nodes, attempt 2" in describe(folder / "run")[1]["events"]
    return draining[0]


def test_two_jobs_on_the_same_nodes_form_separate_clusters(slurm: Lab, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    submissions = [start(folder, cpus_per_node=1, memory_per_node="2G") for folder in folders]
    for submission, folder in zip(submissions, folders):
        assert wait_for(submission, "ended")["code"] == 0, logs_and_events(submission)
        assert events(submission, "ready")[0]["hosts"] == ["n1", "n2"]
        assert_samples_are_right(folder, 8)
    first, second = (events(submission, "ready")[0]["time"] for submission in submissions)
    assert max(first, second) < min(events(submission, "ended")[0]["time"] for submission in submissions), (
        "the jobs did not overlap"
    )


def test_sweep_runs_trials_on_both_nodes(slurm: Lab, tmp_path: Path) -> None:
    sweep = tomllib.loads((REPOSITORY / "jobs" / "smoke" / "tune.toml").read_text())
    sweep["base"]["dataset"] = "@data"
    data = {**tomllib.loads(JOB), "samples": 12, "splits": {"test": 2, "validation": 2}}
    text = tomli_w.dumps({"kind": "pipeline", "stages": {"data": data, "sweep": sweep}})
    submission = start(tmp_path, text=text, cpus_per_node=1, memory_per_node="6G")
    assert wait_for(submission, "ended")["code"] == 0, logs_and_events(submission)
    trials = map(json.loads, (tmp_path / "run" / "sweep" / "trials.jsonl").read_text().splitlines())
    assert {trial["host"] for trial in trials if trial["event"] == "result"} == {"n1", "n2"}


def test_job_survives_the_loss_of_slurmd_and_raylet(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.kill_slurmd("n2")
    slurm.start_slurmd("n2")
    before = shards_done(tmp_path)
    wait_for_shards(slurm, submission, before + 2)
    assert events(submission, "lost") == []
    # If Ray's daemon on a node dies, the job continues without the node.
    assert slurm.run_on("n2", "pkill", "-9", "-x", "raylet").returncode == 0
    assert wait_for(submission, "lost")["host"] == "n2"
    assert wait_for(submission, "ended")["code"] == 0, logs_and_events(submission)
    assert shards_done(tmp_path) == 60
    assert final_state(slurm, submission) == "COMPLETED"


def test_job_fails_with_a_reason_when_the_ray_head_dies(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    assert slurm.run_on("n1", "pkill", "-9", "-x", "gcs_server").returncode == 0
    ended = wait_for(submission, "ended")
    assert (ended["code"], state(submission).name) == (1, "failed")
    assert "task 0 on n1: its Ray node died; see" in ended["problem"]
    wait_until(lambda: not slurm.run("squeue", "--noheader"))
    # Completed shards are kept, and the same command resumes the run.
    done = shards_done(tmp_path)
    again = start(tmp_path, *LONG)
    assert wait_for(again, "ended")["code"] == 0, logs_and_events(again)
    assert (2 <= done < 60, shards_done(tmp_path)) == (True, 60)


def test_submit_with_wait_follows_the_job_to_its_end(slurm: Lab, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "job.toml").write_text(JOB)
    profile = site_profile(tmp_path, f"setup = ['hostname > {tmp_path}/set-up']\n")
    line = ("submit", tmp_path / "job.toml", "--out", run, "--nodes", 2, "--profile", profile)
    script = rayspin(slurm, *line, "--dry-run").stdout
    assert "#SBATCH --nodes=2" in script
    assert not run.exists()
    done = rayspin(slurm, *line, "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    submission = latest(run)
    assert done.stdout.startswith(f"job {submission.job_ids} runs {tmp_path}/job.toml in {run}\n")
    assert "8/8" in done.stdout
    assert "submitit" not in done.stdout
    assert (tmp_path / "set-up").read_text() == "n1\n"
    assert rayspin(slurm, "logs", run).stdout in done.stdout
    status = rayspin(slurm, "status", run).stdout
    assert "Ray was up on n1, n2" in status
    again = rayspin(slurm, "cancel", run)
    assert (again.returncode, again.stderr) == (
        2, f"job {submission.job_ids}: already done; submit again to resume the run\n"
    )  # fmt: skip


def test_doctor_checks_both_nodes_in_one_step(slurm: Lab, tmp_path: Path) -> None:
    nodes = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=3G", "--cpu-bind=none")
    doctor = (sys.executable, "-m", "rayspin", "doctor", "--out", tmp_path, "--profile", site_profile(tmp_path))
    # The command fails if a check fails.
    output = re.sub(r"[│\s]+", " ", slurm.run("srun", *nodes, *map(str, doctor), timeout=300))
    for text in ("doctor on n1", "doctor on n2", "n2 connected, at port", "connected to task 0 at"):
        assert text in output, output
    assert output.count("requires its token") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["site.toml"]
