"""Jobs on a real Slurm of two nodes: Ray over both, and what a cluster does to jobs."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from lab import Lab, wait_until

from rayspin.cluster.launch.options import Piece, SiteProfile, SubmitOptions, pieces
from rayspin.cluster.launch.slurm import submit
from rayspin.cluster.launch.story import read_story
from rayspin.cluster.launch.submissions import State, Submission, cancel, latest, logs, state, states
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.job import load
from rayspin.physics import LABYRINTH, AnnealSchedule, anneal
from rayspin.status import describe
from rayspin.storage import open_dataset
from rayspin.storage.ledger import entries

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
    """A job in one piece, over two nodes, whole ones unless the options say otherwise."""
    (folder / "job.toml").write_text(text)
    return submit(folder / "job.toml", folder / "run", overrides, [Piece("", options(**table))])


def options(**table: Any) -> SubmitOptions:
    return build(SubmitOptions, {"nodes": 2, "time": "30", "scratch": "/var/tmp", **table}, "options")


def events(submission: Submission, name: str, part: int = 0) -> list[dict[str, Any]]:
    return [entry for entry in read_story(submission.parts[part].folder) if entry["event"] == name]


def wait_for(submission: Submission, event: str, count: int = 1, seconds: float = 120.0) -> dict[str, Any]:
    """The event of that name in the attempt numbered `count`."""
    wait_until(lambda: len(events(submission, event)) >= count, seconds, lambda: told(submission))
    return events(submission, event)[count - 1]


def told(submission: Submission) -> str:
    files = [path for path in sorted(submission.folder.rglob("*")) if path.suffix in {".out", ".jsonl"}]
    return "\n".join(f"== {path}\n{path.read_text()}" for path in files)


def shards_done(folder: Path) -> int:
    return len(list(entries(folder / "run")))


def wait_for_shards(slurm: Lab, submission: Submission, count: int) -> None:
    run = submission.folder.parents[1]
    wait_until(lambda: shards_done(run.parent) >= count, 120, lambda: told(submission) + slurm.run("squeue"))


def start_again_now(slurm: Lab, submission: Submission) -> None:
    """Slurm holds a requeued job for two minutes; a test doesn't."""

    def released() -> bool:
        if len(events(submission, "started")) == 2:
            return True
        if "BeginTime" in slurm.run("squeue", "--noheader", "--format=%r"):
            slurm.run("scontrol", "update", f"JobId={submission.job_ids}", "StartTime=now")
        return False

    wait_until(released, 90, lambda: told(submission) + slurm.run("scontrol", "show", "job"))


def final_state(slurm: Lab, submission: Submission) -> str:
    """The state that accounting comes to hold, some seconds after the end."""

    passing = {"", "RUNNING", "PENDING", "COMPLETING", "REQUEUED"}
    wait_until(lambda: accounted(slurm, submission.job_ids, "State").partition(" ")[0] not in passing, 60)
    return accounted(slurm, submission.job_ids, "State").partition(" ")[0]


def accounted(slurm: Lab, job_id: str, what: str) -> str:
    """What accounting holds of a job by now; of an array, of its first task."""
    return slurm.run(
        "sacct", "--noheader", "--parsable2", "--allocations", f"--format={what}", f"--jobs={job_id}"
    ).partition("\n")[0]


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
    made_on = {entry["host"] for entry in entries(tmp_path / "run")}
    assert made_on == {"n1", "n2"}
    assert_samples_are_right(tmp_path, 8)
    assert final_state(slurm, submission) == "COMPLETED"


@pytest.mark.ray
@pytest.mark.slow
def test_a_cancelled_job_ends_on_all_nodes_and_is_not_requeued(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    assert state(submission).name == "running"
    slurm.run("scancel", submission.job_ids)
    wait_until(lambda: state(submission).name == "stopped", 30, lambda: told(submission))
    assert final_state(slurm, submission) == "CANCELLED"
    assert not events(submission, "requeued")


@pytest.mark.ray
@pytest.mark.slow
def test_before_its_walltime_a_job_is_requeued_and_goes_on_where_it_was(slurm: Lab, tmp_path: Path) -> None:
    # More than any machine makes in the minute until then; only the way from one attempt to the next is looked at here.
    submission = start(tmp_path, *LONG, "samples=20000", drain_seconds=40)
    wait_for_shards(slurm, submission, 2)
    # A real walltime, and Slurm's real warning; a shorter limit for tests than any that may be submitted.
    age = time.time() - events(submission, "started")[0]["time"]
    limit = math.ceil((age + 50) / 60)
    slurm.run("scontrol", "update", f"JobId={submission.job_ids}", f"TimeLimit={limit}")
    assert wait_for(submission, "draining")["reason"] == "walltime"
    wait_until(lambda: "BeginTime" in slurm.run("squeue", "--noheader", "--format=%r"), 60, lambda: told(submission))
    slurm.run("scontrol", "update", f"JobId={submission.job_ids}", "TimeLimit=30", "StartTime=now")
    assert [event["code"] for event in events(submission, "ended")] == [75]
    before = {entry["file"] for entry in entries(tmp_path / "run")}
    wait_for_shards(slurm, submission, len(before) + 10)
    slurm.run("scancel", submission.job_ids)
    wait_until(lambda: state(submission).name == "stopped", 30, lambda: told(submission))
    files = [entry["file"] for entry in entries(tmp_path / "run")]
    assert len(files) == len(set(files)), "none was made twice"
    # The last one was made after the requeue, by however many nodes and whenever: its bytes are those of a run here.
    last = max(set(files) - before)
    number = int(re.sub(r"\D", "", last)) + 1
    settings = [part for override in (*LONG, "samples=20000") for part in ("--set", override)]
    shard = f"{number}/20000"
    rayspin(slurm, "run", tmp_path / "job.toml", "--out", tmp_path / "here", *settings, "--shards", shard)
    assert (tmp_path / "here" / last).read_bytes() == (tmp_path / "run" / last).read_bytes()


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
    assert preempted(slurm, tmp_path)["reason"] == "walltime"


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_that_is_preempted_without_a_warning_goes_on_after(without_warning: Lab, tmp_path: Path) -> None:
    assert preempted(without_warning, tmp_path)["reason"] == "stop"


def preempted(slurm: Lab, folder: Path) -> dict[str, Any]:
    """How a job is drained that makes room for another and then ends as if nothing had been."""
    submission = start(folder, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.run("srun", "--partition=high", "--nodes=2", "--exclusive", "hostname", timeout=60)
    drained = events(submission, "draining")
    assert len(drained) == 1, told(submission)
    start_again_now(slurm, submission)
    assert wait_for(submission, "ended", count=2)["code"] == 0, told(submission)
    assert shards_done(folder) == 60
    assert "started on n1 with 2 nodes, attempt 2" in describe(folder / "run")[1]["its story"]
    return drained[0]


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


def released(slurm: Lab, job_id: str) -> None:
    """A requeued job that Slurm holds for two minutes starts now."""
    wait_until(
        lambda: "BeginTime" in slurm.run("squeue", "--noheader", "--format=%r", f"--jobs={job_id}"), 60,
        lambda: slurm.run("scontrol", "show", "job"),
    )  # fmt: skip
    slurm.run("scontrol", "update", f"JobId={job_id}", "StartTime=now")


@pytest.mark.ray
@pytest.mark.slow
def test_stages_run_one_after_another_each_on_its_own_nodes(slurm: Lab, tmp_path: Path) -> None:
    """Generation as an array without Ray, then a training with a worker on each of two nodes, then an evaluation."""
    (tmp_path / "job.toml").write_text((ROOT / "jobs" / "smoke" / "pipeline.toml").read_text())
    table = {"time": "30", "scratch": "/var/tmp", "cpus_per_node": 1, "memory_per_node": "3G"}
    site = SiteProfile(table, {"generate": {"array": 2}, "train-*": {"nodes": 2, "gpus_per_node": 1}})
    overrides = ("stages.train.resources.workers=2",)
    stages = pieces(load(tmp_path / "job.toml", overrides), site, {})
    submission = submit(tmp_path / "job.toml", tmp_path / "run", overrides, stages)
    wait_until(lambda: events(submission, "ended", part=3) or state(submission).final, 250, lambda: told(submission))
    assert state(submission).name == "done", told(submission)
    assert events(submission, "ready", part=2)[0]["hosts"] == ["n1", "n2"]
    ends = [events(submission, "ended", part)[-1]["time"] for part in range(4)]
    starts = [events(submission, "started", part)[0]["time"] for part in range(4)]
    assert max(ends[:2]) <= starts[2]
    assert ends[2] <= starts[3]
    _, rows = describe(tmp_path / "run")
    assert rows["state"] == "finished"
    assert rows["evaluate: state"] == "finished"
    assert ["gres/gpu=2" in accounted(slurm, part.job_id, "AllocTRES") for part in submission.parts[1:]] == [
        False, True, False,
    ]  # fmt: skip


@pytest.mark.slow
def test_while_a_stage_is_requeued_those_after_it_wait_on(slurm: Lab, tmp_path: Path) -> None:
    stage = {**tomllib.loads(JOB), "size": 64, "schedule": {"sweeps": 200000, "quench_sweeps": 50}}
    stages = {"first": stage, "second": tomllib.loads(JOB)}
    (tmp_path / "job.toml").write_text(tomli_w.dumps({"kind": "pipeline", "stages": stages}))
    one, two = (
        Piece(name, options(nodes=1, array=1), after) for name, after in (("first", ()), ("second", ("first",)))
    )
    submission = submit(tmp_path / "job.toml", tmp_path / "run", (), [one, two])
    first, second = submission.parts
    wait_until(lambda: list((tmp_path / "run" / "first").glob("shard-*")), 120, lambda: told(submission))
    slurm.run("scancel", "--signal=USR2", first.job_id)
    released(slurm, first.job_id)
    # A job that is requeued has not ended.
    assert states(submission)[second] == State("queued", "Dependency")
    wait_until(lambda: state(submission).final, 200, lambda: told(submission) + slurm.run("squeue"))
    assert state(submission).name == "done"
    assert [entry["code"] for entry in events(submission, "ended")] == [75, 0]
    assert "attempt 2" in describe(tmp_path / "run")[1]["its story"]
    assert describe(tmp_path / "run")[1]["state"] == "finished"


@pytest.mark.slow
def test_a_stage_that_fails_takes_those_after_it_out_of_the_queue(slurm: Lab, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text((ROOT / "jobs" / "smoke" / "pipeline.toml").read_text())
    stages = pieces(load(tmp_path / "job.toml"), SiteProfile({"time": "30", "scratch": "/var/tmp"}, {}), {"array": 1})
    # What a disk full of something else may do: the ledger can't be written.
    (tmp_path / "run" / "generate" / "ledger.jsonl").mkdir(parents=True)
    submission = submit(tmp_path / "job.toml", tmp_path / "run", (), stages)
    wait_until(lambda: state(submission).final, 120, lambda: told(submission))
    now = {part.stage: end for part, end in states(submission).items()}
    assert now["generate"].name == "failed"
    assert "Is a directory" in now["generate"].why
    assert now["train"] == State("stopped", "it never started: generate task 1 failed")
    assert now["evaluate"].why == "it never started: generate task 1 failed"
    assert describe(tmp_path / "run")[1][f"job {submission.job_ids}"].startswith(
        "failed (generate task 1 failed, train"
    )


@pytest.mark.slow
def test_an_array_is_cancelled_as_one(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG, nodes=1, array=5)
    wait_for_shards(slurm, submission, 2)
    assert state(submission).name == "running"
    assert [now.name for now in states(submission).values()].count("queued") == 3
    cancel(submission)
    wait_until(lambda: state(submission).final, 30, lambda: told(submission))
    assert state(submission) == State("stopped", "of 5: 5 stopped")


@pytest.mark.ray
@pytest.mark.slow
def test_a_sweep_runs_its_trials_on_both_nodes(slurm: Lab, tmp_path: Path) -> None:
    sweep = tomllib.loads((ROOT / "jobs" / "smoke" / "tune.toml").read_text())
    sweep["base"]["dataset"] = "@data"
    data = {**tomllib.loads(JOB), "samples": 12, "splits": {"test": 2, "validation": 2}}
    text = tomli_w.dumps({"kind": "pipeline", "stages": {"data": data, "sweep": sweep}})
    submission = start(tmp_path, text=text, cpus_per_node=1, memory_per_node="6G")
    assert wait_for(submission, "ended", seconds=200)["code"] == 0, told(submission)
    trials = map(json.loads, (tmp_path / "run" / "sweep" / "trials.jsonl").read_text().splitlines())
    assert {trial["host"] for trial in trials if trial["event"] == "result"} == {"n1", "n2"}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.faults
def test_a_job_outlives_the_daemons_of_its_nodes(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    slurm.kill_slurmd("n2")
    slurm.start_slurmd("n2")
    before = shards_done(tmp_path)
    wait_for_shards(slurm, submission, before + 2)
    assert events(submission, "lost") == []
    # Ray's daemon on that node is another matter: the node is done without.
    assert slurm.on("n2", "pkill", "-9", "-x", "raylet").returncode == 0
    assert wait_for(submission, "lost")["host"] == "n2"
    assert wait_for(submission, "ended")["code"] == 0, told(submission)
    assert shards_done(tmp_path) == 60
    assert final_state(slurm, submission) == "COMPLETED"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.faults
def test_without_the_head_of_its_ray_cluster_a_job_ends_and_says_why(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG)
    wait_for_shards(slurm, submission, 2)
    assert slurm.on("n1", "pkill", "-9", "-x", "gcs_server").returncode == 0
    ended = wait_for(submission, "ended", seconds=40)
    assert (ended["code"], state(submission).name) == (1, "failed")
    assert "task 0 on n1: its Ray node died; see" in ended["problem"]
    wait_until(lambda: not slurm.run("squeue", "--noheader"), 40)
    # What was done is kept, and the same command goes on.
    done = shards_done(tmp_path)
    again = start(tmp_path, *LONG)
    assert wait_for(again, "ended")["code"] == 0, told(again)
    assert (2 <= done < 60, shards_done(tmp_path)) == (True, 60)


def sbatch(slurm: Lab, folder: Path, *command: str, text: str = JOB, stage: tuple[str, ...] = ()) -> str:
    """A job through a plain script, as a user of sbatch starts it; its number."""
    (folder / "job.toml").write_text(text)
    venv = folder / "venv" / "bin"
    venv.mkdir(parents=True, exist_ok=True)
    (venv / "activate").write_text(f"export PATH={Path(sys.executable).parent}:$PATH\n")
    environment = slurm.environment() | {"RAYSPIN_VENV": str(venv.parent), "TMPDIR": "/var/tmp"}
    job = (f"{folder}/job.toml", "--out", f"{folder}/run", *stage)
    return subprocess.run(
        ["sbatch", "--parsable", f"--output={folder}/log-%A_%a", *command, *job],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60,
    ).stdout.strip()  # fmt: skip


def by_hand(slurm: Lab, folder: Path, *command: str) -> Submission:
    """What such a job has recorded of itself, once its first task has begun."""
    sbatch(slurm, folder, *command)
    records = folder / "run" / "submissions"
    wait_until(lambda: list(records.glob("*/submission.json")), 60, lambda: [*map(Path.read_text, folder.glob("log*"))])
    return latest(folder / "run")


@pytest.mark.ray
@pytest.mark.slow
def test_the_plain_script_does_the_same(slurm: Lab, tmp_path: Path) -> None:
    submission = by_hand(slurm, tmp_path, "--nodes=2", "slurm/ray.sbatch")
    assert wait_for(submission, "ended")["code"] == 0, submission.parts[0].log.read_text()
    assert_samples_are_right(tmp_path, 8)
    assert final_state(slurm, submission) == "COMPLETED"
    _, rows = describe(tmp_path / "run")
    assert rows[f"job {submission.job_ids}"] == "done"
    story = [line.split("  ", 1)[1] for line in rows["its story"].splitlines()]
    assert story[:2] == [f"submitted as job {submission.job_ids} (slurm)", "started on n1 with 2 nodes"]
    assert story[2].startswith("Ray was up on n1, n2 after")
    assert "energy per site" in "".join(logs(submission))


@pytest.mark.slow
def test_the_plain_script_of_an_array_does_the_same(slurm: Lab, tmp_path: Path) -> None:
    submission = by_hand(slurm, tmp_path, "--array=0-2", "slurm/array.sbatch")
    assert [part.task for part in submission.parts] == [1, 2, 3]
    wait_until(lambda: state(submission).final, 150, lambda: told(submission))
    assert state(submission) == State("done", "of 3: 3 done")
    assert_samples_are_right(tmp_path, 8)
    assert describe(tmp_path / "run")[1]["state"] == "finished"
    assert all("generate shards" in part.log.read_text() for part in submission.parts)


@pytest.mark.ray
@pytest.mark.slow
def test_the_plain_scripts_do_a_pipeline_stage_by_stage(slurm: Lab, tmp_path: Path) -> None:
    """As slurm/README.md has it: an array, and a training with a worker on each of two nodes after it."""
    text = (ROOT / "jobs" / "smoke" / "pipeline.toml").read_text()
    one = sbatch(slurm, tmp_path, "--array=1-2", "slurm/array.sbatch", text=text, stage=("--stage", "generate"))
    after = (f"--dependency=afterok:{one}", "--kill-on-invalid-dep=yes")
    training = ("--stage", "train", "--set", "stages.train.resources.workers=2")
    resources = ("--nodes=2", "--cpus-per-task=1", "--mem=3G", "slurm/train_gpu.sbatch")
    two = sbatch(slurm, tmp_path, *after, *resources, text=text, stage=training)
    record = tmp_path / "run" / "submissions" / two / "submission.json"
    wait_until(record.exists, 120, lambda: slurm.run("squeue"))
    submission = latest(tmp_path / "run")
    assert wait_for(submission, "ended")["code"] == 0, submission.parts[0].log.read_text()
    assert events(submission, "ready")[0]["hosts"] == ["n1", "n2"]
    _, rows = describe(tmp_path / "run")
    assert (rows[f"job {two}"], rows["generate: state"], rows["train: state"]) == ("done", "finished", "finished")
    for job_id in (one, two):
        assert f"submitted as job {job_id} (slurm)" in rows["its story"]
    wait_until(lambda: "gres/gpu=2" in accounted(slurm, two, "AllocTRES"), 30)


@pytest.mark.slow
def test_a_job_that_gets_nowhere_is_not_requeued_for_ever(slurm: Lab, tmp_path: Path) -> None:
    # One shard takes far longer than the job is given.
    huge = ("samples=1", "size=256", "schedule.sweeps=4000000")
    submission = start(tmp_path, *huge, nodes=1, array=1, fruitless_attempts=2, drain_seconds=30)
    (part,) = submission.parts
    wait_for(submission, "started")
    slurm.run("scancel", "--signal=USR2", part.job_id)
    released(slurm, part.job_id)
    wait_for(submission, "started", count=2)
    slurm.run("scancel", "--signal=USR2", part.job_id)
    wait_until(lambda: state(submission).final, 60, lambda: told(submission))
    assert (state(submission).name, len(events(submission, "requeued"))) == ("failed", 1)
    assert "2 attempts in a row made no progress" in state(submission).why
    assert final_state(slurm, submission) == "FAILED"


def rayspin(slurm: Lab, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command, on the login node."""
    return subprocess.run(
        [sys.executable, "-m", "rayspin", *map(str, arguments)],
        env=slurm.environment(), capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip


def site_profile(folder: Path, text: str = "") -> Path:
    profile = folder / "site.toml"
    profile.write_text(f'time = "30"\nscratch = "/var/tmp"\n{text}')
    return profile


@pytest.mark.ray
@pytest.mark.slow
def test_one_line_hands_a_job_over_and_stays_with_it(slurm: Lab, tmp_path: Path) -> None:
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
    assert (tmp_path / "set-up").read_text() == "n1\n"
    assert rayspin(slurm, "logs", run).stdout in done.stdout
    status = rayspin(slurm, "status", run).stdout
    assert "Ray was up on n1, n2" in status
    again = rayspin(slurm, "cancel", run)
    assert (again.returncode, again.stderr) == (
        2, f"job {submission.job_ids}: is done already; submit again to go on with the run\n"
    )  # fmt: skip


@pytest.mark.ray
@pytest.mark.slow
def test_the_doctor_looks_at_both_nodes_at_once(slurm: Lab, tmp_path: Path) -> None:
    nodes = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=3G", "--cpu-bind=none")
    doctor = (sys.executable, "-m", "rayspin", "doctor", "--out", tmp_path, "--profile", site_profile(tmp_path))
    # It fails if anything is wrong.
    said = re.sub(r"[│\s]+", " ", slurm.run("srun", *nodes, *map(str, doctor), timeout=180))
    for found in ("doctor on n1", "doctor on n2", "n2 came, at port", "task 0 answers at"):
        assert found in said, said
    assert said.count("lets in by its token only") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["site.toml"]


def test_what_slurm_refuses_is_said_in_one_line(slurm: Lab, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="invalid partition specified: nowhere") as error:
        start(tmp_path, partition="nowhere")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="Memory specification can not be satisfied"):
        start(tmp_path, memory_per_node="1000G")
    with pytest.raises(InputError, match="nothing was submitted"):
        latest(tmp_path / "run")
    refused = rayspin(slurm, "submit", tmp_path / "job.toml", "--out", tmp_path / "run", "--partition", "nowhere")
    problem = "sbatch refuses it (invalid partition specified: nowhere)"
    assert (refused.returncode, refused.stdout, refused.stderr) == (
        2, "", f"submit: {problem}; change the options or the site profile\n"
    )  # fmt: skip
    # Nothing is left that status would take for a run.
    with pytest.raises(InputError, match="no run there"):
        describe(tmp_path / "run")


def test_an_account_that_is_not_there_is_said_in_one_line(with_accounts: Lab, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Invalid account") as error:
        start(tmp_path, account="spinz")
    assert "\n" not in str(error.value)
    # Of three stages the second is refused: the first doesn't run for nothing.
    (tmp_path / "pipeline.toml").write_text((ROOT / "jobs" / "smoke" / "pipeline.toml").read_text())
    site = SiteProfile({"account": "spins", "time": "30", "scratch": "/var/tmp"}, {"train-*": {"account": "spinz"}})
    stages = pieces(load(tmp_path / "pipeline.toml"), site, {})
    with pytest.raises(InputError, match=r"submit train: sbatch refuses it \(Invalid account"):
        submit(tmp_path / "pipeline.toml", tmp_path / "stages", (), stages)
    wait_until(lambda: state(latest(tmp_path / "stages")).final, 20)
    assert state(latest(tmp_path / "stages")).name == "stopped"


def test_a_folder_that_the_nodes_do_not_see_is_said_in_one_line(slurm: Lab) -> None:
    # Each node has a /var/tmp of its own, and so has this machine.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        submission = start(Path(folder))
        wait_until(lambda: state(submission).final, 60, lambda: slurm.run("scontrol", "show", "job"))
        assert state(submission).name == "gone"
        assert state(submission).why == f"it never started: do the nodes see {submission.folder}?"


def test_what_a_site_cannot_set_up_is_said_and_nothing_runs_without_it(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, modules=["python/0.9"])
    wait_until(lambda: state(submission).final, 60, lambda: slurm.run("scontrol", "show", "job"))
    assert state(submission).name == "gone"
    assert state(submission).why.startswith("it never started: ")
    # There are no modules on these nodes.
    assert state(submission).why.endswith("module: command not found")


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_does_not_come_is_done_without_where_fewer_will_do(slurm: Lab, tmp_path: Path) -> None:
    scratch = "/var/tmp/only-n1"
    slurm.on("n1", "mkdir", scratch)
    try:
        submission = start(tmp_path, min_nodes=1, scratch=scratch)
        assert wait_for(submission, "ended")["code"] == 0, told(submission)
    finally:
        slurm.on("n1", "rmdir", scratch)
    assert events(submission, "ready")[0]["hosts"] == ["n1"]
    assert f"scratch {scratch}: is no folder that can be written" in told(submission)
    assert_samples_are_right(tmp_path, 8)


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
