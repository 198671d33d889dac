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
    ("reason", "explanation"),
    [
        ("PartitionNodeLimit", "requests more nodes than the partition has or allows; cancel it and request fewer"),
        ("PartitionTimeLimit", "more time than the partition allows"),
        ("Resources", "waits for nodes to become free"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "are down or reserved"),
        ("QOSMaxCpuPerUserLimit", "a limit of your account or QOS"),
        ("AssocGrpNodeLimit", "a limit of your account or QOS"),
    ],
)
def test_pending_reason_is_explained(reason: str, explanation: str) -> None:
    assert str(State("queued", reason)).startswith(f"queued ({reason}: ")
    assert explanation in str(State("queued", reason))


def test_unknown_reason_is_shown_unchanged() -> None:
    assert meaning("FrontEndDown") == "FrontEndDown"
    assert str(State("queued")) == "queued"
    assert str(State("failed", "Resources")) == "failed (Resources)"


def test_state_of_a_pipeline_contains_the_reasons_of_its_stages(tmp_path: Path) -> None:
    stages = {"generate": State("queued", "PartitionNodeLimit"), "train": State("queued", "Dependency")}
    by_part = {Part(name, tmp_path, tmp_path / "log", name): queued for name, queued in stages.items()}
    text = str(submissions.overall(by_part))
    assert text.startswith("queued (generate queued (PartitionNodeLimit: the job requests more nodes")
    assert "train queued (Dependency: the job depends on a job that has not ended)" in text


@pytest.fixture
def array(tmp_path: Path) -> Submission:
    """A submission of an array of two tasks, which Slurm numbers from 0."""
    folder = tmp_path / "submissions" / "001"
    folder.mkdir(parents=True)
    parts = [Part(f"2_{task - 1}", folder / str(task), folder / f"{task}.out", "", task) for task in (1, 2)]
    submission = Submission(folder, "slurm", 1e9, tuple(parts))
    submission.write()
    return submission


def test_status_shows_the_shards_and_pending_reason_of_each_task(
    array: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Slurm gives this reason in a full queue, which the clusters of the tests can't reproduce.
    monkeypatch.setattr(scheduler, "queue", lambda jobs: dict.fromkeys(jobs, ("PENDING", "PartitionNodeLimit")))
    _, rows = describe(array.folder.parent.parent)
    assert rows["task 1, shards 1/2: job 2_0"] == str(State("queued", "PartitionNodeLimit"))
    assert rows["task 2, shards 2/2: job 2_1"] == str(State("queued", "PartitionNodeLimit"))


def test_follow_reports_the_pending_reason_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "submissions" / "001"
    folder.mkdir(parents=True)
    submission = Submission(folder, "slurm", 1e9, (Part("2", folder, folder / "log"),))
    states = [State("queued", "PartitionNodeLimit")] * 2 + [State("running"), State("stopped", "canceled")]
    monkeypatch.setattr(submissions, "_until_final", lambda _: iter(states))
    assert "".join(submissions.follow(submission)) == f"{State('queued', 'PartitionNodeLimit')}\n"


def test_modules_are_quoted_in_the_script(tmp_path: Path) -> None:
    options = SubmitOptions(modules=("gcc/12", "x; touch /tmp/evil", "a b"))
    text = submit.script(tmp_path / "job.toml", tmp_path / "run", (), [JobRequest("", options)])
    lines = [line for line in text.splitlines() if line.startswith("module")]
    assert lines == ["module load gcc/12", "module load 'x; touch /tmp/evil'", "module load 'a b'"]


def test_submission_whose_first_job_fails_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job.toml").write_text('kind = "generate"\n')

    def refuse(*_: object) -> list[Part]:
        raise submit.InputError("submit", "refused by sbatch", "change the options")

    # Refusals of a real Slurm are tested in tests/slurm.
    monkeypatch.setattr(submit, "_submit_tasks", refuse)
    request = JobRequest("", SubmitOptions(cluster="local"))
    for out in (tmp_path / "runs" / "new", tmp_path / "old"):
        existed = out.name == "old"
        if existed:
            out.mkdir()
        with pytest.raises(submit.InputError, match="refused by sbatch"):
            submit.submit(tmp_path / "job.toml", out, (), [request])
        assert sorted(path.name for path in tmp_path.iterdir()) == (["job.toml", "old"] if existed else ["job.toml"])
        assert not existed or not list(out.iterdir())
