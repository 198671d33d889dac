"""Pipelines and arrays on a real Slurm cluster: each stage is a separate job."""

from __future__ import annotations

import tomllib
from pathlib import Path

import tomli_w

from rayspin.job import load
from rayspin.launch.job_requests import JobRequest, SiteProfile, job_requests
from rayspin.launch.submissions import State, cancel, state, states
from rayspin.launch.submit import submit
from rayspin.status import describe
from tests.support.repository import REPOSITORY
from tests.support.runs import wait_until
from tests.support.slurm.jobs import (
    JOB,
    LONG,
    accounting_field,
    events,
    logs_and_events,
    options,
    release,
    start,
    wait_for_shards,
)
from tests.support.slurm.lab import Lab


def test_pipeline_stages_run_in_order_with_their_own_resources(slurm: Lab, tmp_path: Path) -> None:
    """The stages are an array without Ray, a training with a worker on each of two nodes, and an evaluation."""
    (tmp_path / "job.toml").write_text((REPOSITORY / "jobs" / "smoke" / "pipeline.toml").read_text())
    table = {"time": "30", "scratch": "/var/tmp", "cpus_per_node": 1, "memory_per_node": "3G"}
    site = SiteProfile(table, {"generate": {"array": 2}, "train-*": {"nodes": 2, "gpus_per_node": 1}})
    overrides = ("stages.train.resources.workers=2",)
    stages = job_requests(load(tmp_path / "job.toml", overrides), site, {})
    submission = submit(tmp_path / "job.toml", tmp_path / "run", overrides, stages)
    wait_until(
        lambda: events(submission, "ended", part=3) or state(submission).final, lambda: logs_and_events(submission)
    )
    assert state(submission).name == "done", logs_and_events(submission)
    assert events(submission, "ready", part=2)[0]["hosts"] == ["n1", "n2"]
    ends = [events(submission, "ended", part)[-1]["time"] for part in range(4)]
    starts = [events(submission, "started", part)[0]["time"] for part in range(4)]
    assert max(ends[:2]) <= starts[2]
    assert ends[2] <= starts[3]
    _, rows = describe(tmp_path / "run")
    assert rows["state"] == "finished"
    assert rows["evaluate: state"] == "finished"
    assert ["gres/gpu=2" in accounting_field(slurm, part.job_id, "AllocTRES") for part in submission.parts[1:]] == [
        False, True, False,
    ]  # fmt: skip


def test_dependent_stages_keep_waiting_while_a_stage_is_requeued(slurm: Lab, tmp_path: Path) -> None:
    stage = {**tomllib.loads(JOB), "size": 64, "schedule": {"sweeps": 200000, "quench_sweeps": 50}}
    stages = {"first": stage, "second": tomllib.loads(JOB)}
    (tmp_path / "job.toml").write_text(tomli_w.dumps({"kind": "pipeline", "stages": stages}))
    one, two = (
        JobRequest(name, options(nodes=1, array=1), after) for name, after in (("first", ()), ("second", ("first",)))
    )
    submission = submit(tmp_path / "job.toml", tmp_path / "run", (), [one, two])
    first, second = submission.parts
    wait_until(lambda: list((tmp_path / "run" / "first").glob("shard-*")), lambda: logs_and_events(submission))
    slurm.run("scancel", "--signal=USR2", first.job_id)
    release(slurm, first.job_id)
    # A requeued job has not ended.
    assert states(submission)[second] == State("queued", "Dependency")
    wait_until(lambda: state(submission).final, lambda: logs_and_events(submission) + slurm.run("squeue"))
    assert state(submission).name == "done"
    assert [entry["code"] for entry in events(submission, "ended")] == [75, 0]
    assert "attempt 2" in describe(tmp_path / "run")[1]["events"]
    assert describe(tmp_path / "run")[1]["state"] == "finished"


def test_dependent_stages_are_canceled_after_a_failed_stage(slurm: Lab, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text((REPOSITORY / "jobs" / "smoke" / "pipeline.toml").read_text())
    stages = job_requests(
        load(tmp_path / "job.toml"), SiteProfile({"time": "30", "scratch": "/var/tmp"}, {}), {"array": 1}
    )
    # The ledger can't be written, because a folder has its name.
    (tmp_path / "run" / "generate" / "ledger.jsonl").mkdir(parents=True)
    submission = submit(tmp_path / "job.toml", tmp_path / "run", (), stages)
    wait_until(lambda: state(submission).final, lambda: logs_and_events(submission))
    now = {part.stage: end for part, end in states(submission).items()}
    assert now["generate"].name == "refused"
    assert "ledger.jsonl: is a folder" in now["generate"].why
    assert now["train"].why == now["evaluate"].why
    assert now["train"].why.startswith("it never started: generate task 1")
    assert describe(tmp_path / "run")[1][f"job {submission.job_ids}"].startswith(
        "refused (generate task 1 refused, train"
    )


def test_cancel_stops_all_tasks_of_an_array(slurm: Lab, tmp_path: Path) -> None:
    submission = start(tmp_path, *LONG, nodes=1, array=5)
    wait_for_shards(slurm, submission, 2)
    assert state(submission).name == "running"
    assert [now.name for now in states(submission).values()].count("queued") == 3
    cancel(submission)
    wait_until(lambda: state(submission).final, lambda: logs_and_events(submission))
    assert state(submission) == State("stopped", "of 5: 5 stopped")
