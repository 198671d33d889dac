"""Jobs on a real Slurm of two nodes: Ray over both, and what a cluster does to jobs."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import Lab, wait_until

from rayspin.cluster.launch.slurm import SubmitOptions, submit
from rayspin.cluster.launch.story import read_story
from rayspin.cluster.launch.submissions import Submission, cancel, state
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.physics import LABYRINTH, AnnealSchedule, anneal
from rayspin.storage import open_dataset

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[2]

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
"""Half a minute of work on two nodes of two CPUs."""


def start(folder: Path, *overrides: str, text: str = JOB, **table: Any) -> Submission:
    """A job over two nodes, whole ones unless the options say otherwise."""
    (folder / "job.toml").write_text(text)
    asked = build(SubmitOptions, {"nodes": 2, "time": "30", "scratch": "/var/tmp", **table}, "options")
    return submit(folder / "job.toml", folder / "run", overrides, asked)


def events(submission: Submission, name: str) -> list[dict[str, Any]]:
    return [entry for entry in read_story(submission.folder) if entry["event"] == name]


def wait_for(submission: Submission, event: str, count: int = 1, seconds: float = 120.0) -> dict[str, Any]:
    """The event of that name in the attempt numbered `count`."""
    wait_until(lambda: len(events(submission, event)) >= count, seconds, lambda: told(submission))
    return events(submission, event)[count - 1]


def told(submission: Submission) -> str:
    files = [path for path in sorted(submission.folder.iterdir()) if path.suffix in {".out", ".jsonl"}]
    return "\n".join(f"== {path}\n{path.read_text()}" for path in files)


def shards_done(folder: Path) -> int:
    ledger = folder / "run" / "ledger.jsonl"
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def wait_for_shards(slurm: Lab, submission: Submission, count: int) -> None:
    run = submission.folder.parents[1]
    wait_until(lambda: shards_done(run.parent) >= count, 120, lambda: told(submission) + slurm.run("squeue"))


def start_again_now(slurm: Lab, submission: Submission) -> None:
    """Slurm holds a requeued job for two minutes; a test doesn't."""

    def released() -> bool:
        if len(events(submission, "started")) == 2:
            return True
        if "BeginTime" in slurm.run("squeue", "--noheader", "--format=%r"):
            slurm.run("scontrol", "update", f"JobId={submission.job_id}", "StartTime=now")
        return False

    wait_until(released, 90, lambda: told(submission) + slurm.run("scontrol", "show", "job"))


def final_state(slurm: Lab, submission: Submission) -> str:
    """The state that accounting comes to hold, some seconds after the end."""

    def state() -> str:
        out = slurm.run(
            "sacct", "--noheader", "--parsable2", "--allocations", "--format=State", f"--jobs={submission.job_id}"
        )
        return out.split()[0] if out else ""

    wait_until(lambda: state() not in {"", "RUNNING", "PENDING", "COMPLETING", "REQUEUED"}, 60)
    return state()


def assert_samples_are_right(folder: Path, count: int, *overrides: str) -> None:
    job = tomllib.loads(JOB) | tomllib.loads("\n".join(overrides))
    schedule = AnnealSchedule(**(tomllib.loads(JOB)["schedule"] | job["schedule"]))
    expected = [anneal(LABYRINTH, size=job["size"], schedule=schedule, seed=(7, sample)) for sample in range(count)]
    np.testing.assert_array_equal(open_dataset(folder / "run")["spins"].values[:count], np.stack(expected))


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_runs_on_both_nodes_and_leaves_nothing(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path)
    assert wait_for(submission, "ended")["code"] == 0, told(submission)
    assert events(submission, "ready")[0]["hosts"] == ["n1", "n2"]
    made_on = {json.loads(line)["host"] for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()}
    assert made_on == {"n1", "n2"}
    assert_samples_are_right(tmp_path, 8)
    assert final_state(slurm, submission) == "COMPLETED"


@pytest.mark.ray
@pytest.mark.slow
def test_a_cancelled_job_ends_on_all_nodes_and_is_not_requeued(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    assert state(submission).name == "running"
    cancel(submission)
    wait_until(lambda: state(submission).name == "stopped", 30, lambda: told(submission))
    assert final_state(slurm, submission) == "CANCELLED"
    assert not events(submission, "requeued")


@pytest.mark.ray
@pytest.mark.slow
def test_before_its_walltime_a_job_is_requeued_and_goes_on_where_it_was(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG, "samples=1200", drain_seconds=40)
    wait_for_shards(slurm, submission, 2)
    # A real walltime, and Slurm's real warning; a shorter limit for tests than any that may be submitted.
    slurm.run("scontrol", "update", f"JobId={submission.job_id}", "TimeLimit=1")
    assert wait_for(submission, "draining")["reason"] == "walltime"
    wait_until(lambda: "BeginTime" in slurm.run("squeue", "--noheader", "--format=%r"), 60, lambda: told(submission))
    slurm.run("scontrol", "update", f"JobId={submission.job_id}", "TimeLimit=30", "StartTime=now")
    before = shards_done(tmp_path)
    assert wait_for(submission, "ended", count=2)["code"] == 0, told(submission)
    assert [event["code"] for event in events(submission, "ended")] == [75, 0]
    assert 2 <= before < 1200
    assert shards_done(tmp_path) == 1200
    assert_samples_are_right(tmp_path, 8, "size=64", "schedule.sweeps=6000")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.faults
def test_a_node_without_power_is_done_without(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.switch_off("n2")
    assert wait_for(submission, "ended", seconds=200)["code"] == 0, told(submission)
    assert shards_done(tmp_path) == 60


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.faults
def test_without_the_first_node_a_job_is_requeued(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.switch_off("n1")
    wait_until(lambda: "PENDING" in slurm.run("squeue", "--noheader", "--format=%T"), 90, lambda: told(submission))
    slurm.switch_on("n1")
    start_again_now(slurm, submission)
    assert wait_for(submission, "ended")["code"] == 0, told(submission)
    assert shards_done(tmp_path) == 60


@pytest.mark.ray
@pytest.mark.slow
def test_a_preempted_job_makes_room_in_time_and_goes_on_after(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.run("srun", "--partition=high", "--nodes=2", "--exclusive", "hostname", timeout=60)
    assert events(submission, "draining"), told(submission)
    start_again_now(slurm, submission)
    assert wait_for(submission, "ended", count=2)["code"] == 0, told(submission)
    assert shards_done(tmp_path) == 60


@pytest.mark.ray
@pytest.mark.slow
def test_two_jobs_share_the_nodes_and_do_not_meet(slurm: Lab, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    submissions = [start(folder, cpus_per_node=1, memory_per_node="2G") for folder in folders]
    for submission, folder in zip(submissions, folders):
        assert wait_for(submission, "ended")["code"] == 0, told(submission)
        assert events(submission, "ready")[0]["hosts"] == ["n1", "n2"]
        assert_samples_are_right(folder, 8)
    first, second = (events(submission, "ready")[0]["time"] for submission in submissions)
    assert max(first, second) < min(events(submission, "ended")[0]["time"] for submission in submissions), (
        "they overlap"
    )


@pytest.mark.ray
@pytest.mark.slow
def test_a_pipeline_trains_with_one_worker_on_each_node(slurm: Lab, tmp_path: Path) -> None:
    text = (ROOT / "jobs" / "smoke" / "pipeline.toml").read_text()
    submission = start(tmp_path, "stages.train.resources.workers=2", text=text, cpus_per_node=1, memory_per_node="6G")
    assert wait_for(submission, "ended", seconds=200)["code"] == 0, told(submission)
    assert (tmp_path / "run" / "evaluate" / "summary.json").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.faults
def test_a_job_outlives_the_daemons_of_its_nodes(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.kill_slurmd("n2")
    slurm.start_slurmd("n2")
    assert wait_for(submission, "ended")["code"] == 0, told(submission)
    assert events(submission, "lost") == []
    assert final_state(slurm, submission) == "COMPLETED"


@pytest.mark.ray
@pytest.mark.slow
def test_the_plain_script_does_the_same(slurm: Lab, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(JOB)
    venv = tmp_path / "venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "activate").write_text(f"export PATH={Path(sys.executable).parent}:$PATH\n")
    environment = slurm.environment() | {"RAYSPIN_VENV": str(venv.parent), "TMPDIR": "/var/tmp"}
    command = [
        "sbatch",
        "--parsable",
        "--nodes=2",
        f"--output={tmp_path}/log",
        "slurm/ray.sbatch",
        f"{tmp_path}/job.toml",
    ]
    done = subprocess.run(
        [*command, "--out", f"{tmp_path}/run", "--set", "samples=4"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    job_id = done.stdout.strip()
    submission = Submission(job_id, "slurm", tmp_path / "run" / "submissions" / job_id)
    assert wait_for(submission, "ended")["code"] == 0, (tmp_path / "log").read_text()
    assert_samples_are_right(tmp_path, 4)
    assert final_state(slurm, submission) == "COMPLETED"


def test_what_slurm_refuses_is_said_in_one_line(slurm: Lab, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="invalid partition specified: nowhere") as error:
        start(tmp_path, partition="nowhere")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="Memory specification can not be satisfied"):
        start(tmp_path, memory_per_node="1000G")


def test_a_job_in_the_queue_says_what_it_waits_for_until_it_is_cancelled(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, nodes=3)
    wait_until(lambda: state(submission).why, 20)
    assert (state(submission).name, state(submission).why) == ("queued", "PartitionConfig")
    cancel(submission)
    wait_until(lambda: state(submission).final, 20)
    assert state(submission).name == "stopped"


@pytest.mark.ray
@pytest.mark.slow
def test_a_site_without_accounting_will_do(without_accounting: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path)
    assert wait_for(submission, "ended")["code"] == 0, told(submission)
    wait_until(lambda: not without_accounting.run("squeue", "--noheader"), 30)
