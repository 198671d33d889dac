"""Texts of a submission: states and reasons shown to the user, and scripts for Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayspin.launch import scheduler, submissions, submit
from rayspin.launch.job_requests import JobRequest
from rayspin.launch.options import SubmitOptions
from rayspin.launch.scheduler import meaning
from rayspin.launch.submissions import Part, State, Submission
from rayspin.status import describe


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("PartitionNodeLimit", "requests more nodes than the partition has or allows; cancel it and request fewer"),
        ("PartitionTimeLimit", "more time than the partition allows"),
        ("Resources", "waits for nodes to become free"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "are down or reserved"),
        ("QOSMaxCpuPerUserLimit", "a limit of your account or QOS"),
        ("AssocGrpNodeLimit", "a limit of your account or QOS"),
    ],
)
def test_the_reason_for_which_a_job_waits_is_told_in_words_too(reason: str, said: str) -> None:
    assert str(State("queued", reason)).startswith(f"queued ({reason}: ")
    assert said in str(State("queued", reason))


def test_a_reason_that_is_not_known_stays_as_it_is() -> None:
    assert meaning("FrontEndDown") == "FrontEndDown"
    assert str(State("queued")) == "queued"
    assert str(State("failed", "Resources")) == "failed (Resources)"


def test_a_pipeline_says_for_what_its_stages_wait(tmp_path: Path) -> None:
    stages = {"generate": State("queued", "PartitionNodeLimit"), "train": State("queued", "Dependency")}
    by_part = {Part(name, tmp_path, tmp_path / "log", name): now for name, now in stages.items()}
    told = str(submissions.overall(by_part))
    assert told.startswith("queued (generate queued (PartitionNodeLimit: the job requests more nodes")
    assert "train queued (Dependency: the job depends on a job that has not ended)" in told


@pytest.fixture
def array(tmp_path: Path) -> Submission:
    """A submission of an array of two tasks, which Slurm numbers from 0."""
    inside = tmp_path / "submissions" / "001"
    inside.mkdir(parents=True)
    parts = [Part(f"2_{task - 1}", inside / str(task), inside / f"{task}.out", "", task) for task in (1, 2)]
    submission = Submission(inside, "slurm", 1e9, tuple(parts))
    submission.write()
    return submission


def test_status_says_which_shards_a_task_makes_and_for_what_it_waits(
    array: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The Slurm clusters of the tests can't be made to give this answer of a full queue.
    monkeypatch.setattr(scheduler, "queue", lambda jobs: dict.fromkeys(jobs, ("PENDING", "PartitionNodeLimit")))
    _, rows = describe(array.folder.parent.parent)
    assert rows["task 1, shards 1/2: job 2_0"] == str(State("queued", "PartitionNodeLimit"))
    assert rows["task 2, shards 2/2: job 2_1"] == str(State("queued", "PartitionNodeLimit"))


def test_who_follows_a_job_that_waits_is_told_why_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "submissions" / "001"
    inside.mkdir(parents=True)
    submission = Submission(inside, "slurm", 1e9, (Part("2", inside, inside / "log"),))
    states = [State("queued", "PartitionNodeLimit")] * 2 + [State("running"), State("stopped", "cancelled")]
    monkeypatch.setattr(submissions, "_until_final", lambda _: iter(states))
    assert "".join(submissions.follow(submission)) == f"{State('queued', 'PartitionNodeLimit')}\n"


def test_modules_are_quoted_in_the_script(tmp_path: Path) -> None:
    options = SubmitOptions(modules=("gcc/12", "x; touch /tmp/evil", "a b"))
    text = submit.script(tmp_path / "job.toml", tmp_path / "run", (), [JobRequest("", options)])
    lines = [line for line in text.splitlines() if line.startswith("module")]
    assert lines == ["module load gcc/12", "module load 'x; touch /tmp/evil'", "module load 'a b'"]


def test_nothing_is_left_of_a_submission_that_failed_at_the_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job.toml").write_text('kind = "generate"\n')

    def refuse(*_: object) -> list[Part]:
        raise submit.InputError("submit", "refused by sbatch", "change the options")

    # Refusals of a real Slurm are tested in tests/slurm.
    monkeypatch.setattr(submit, "_submit_tasks", refuse)
    piece = JobRequest("", SubmitOptions(cluster="local"))
    for out in (tmp_path / "runs" / "new", tmp_path / "old"):
        there = out.name == "old"
        if there:
            out.mkdir()
        with pytest.raises(submit.InputError, match="refused by sbatch"):
            submit.submit(tmp_path / "job.toml", out, (), [piece])
        assert sorted(path.name for path in tmp_path.iterdir()) == (["job.toml", "old"] if there else ["job.toml"])
        assert not there or not list(out.iterdir())
