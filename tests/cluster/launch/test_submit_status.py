"""What is said of a submission, from its files; site profiles; the doctor."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rayspin.cluster.launch import doctor
from rayspin.cluster.launch.slurm import SubmitOptions, site_options
from rayspin.cluster.launch.story import tell
from rayspin.cluster.launch.submissions import Submission, cancel, describe, follow, latest, state, wait
from rayspin.errors import InputError, RunError

PROFILES = sorted((Path(__file__).parents[3] / "slurm" / "profiles").glob("*.toml"))


def submission(
    folder: Path, *events: dict[str, object], job_id: str = "999999999", cluster: str = "local"
) -> Submission:
    there = Submission(job_id, cluster, folder / "submissions" / "001")
    there.folder.mkdir(parents=True)
    tell(there.folder, "submitted", job_id=job_id, cluster=cluster)
    for event in events:
        tell(there.folder, **event)  # type: ignore[arg-type]
    return there


STARTED = {"event": "started", "host": "n1", "nodes": 2, "attempt": 0}
READY = {"event": "ready", "hosts": ["n1", "n2"], "seconds": 6.5}


@pytest.mark.parametrize(
    ("events", "name", "why"),
    [
        ([], "gone", "do the nodes see"),
        ([STARTED, READY], "gone", "ended without a word"),
        ([STARTED, READY, {"event": "ended", "code": 0}], "done", ""),
        ([STARTED, {"event": "ended", "code": 1, "problem": "Ray's head: died; see"}], "failed", "Ray's head: died"),
        ([STARTED, READY, {"event": "ended", "code": 2}], "refused", ""),
        ([STARTED, READY, {"event": "cancelled"}, {"event": "ended", "code": 75}], "stopped", ""),
    ],
)
def test_the_state_of_a_job_that_is_no_longer_there(
    tmp_path: Path, events: list[dict[str, object]], name: str, why: str
) -> None:
    there = submission(tmp_path, *events)
    assert state(there).name == name
    assert why in state(there).why
    assert state(there).final
    assert wait(there) == state(there)
    with pytest.raises(InputError, match=f"is {name} already"):
        cancel(there)


def test_a_running_job_is_running_until_it_is_cancelled(tmp_path: Path) -> None:
    # The command line says submitit, as that of its controller does.
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", "submitit"]) as process:
        there = submission(tmp_path, STARTED, job_id=str(process.pid))
        assert (state(there).name, state(there).final) == ("running", False)
        cancel(there)
        process.wait(10)
        assert state(there).name == "stopped"


def test_the_number_of_a_process_that_is_another_by_now_says_nothing(tmp_path: Path) -> None:
    assert state(submission(tmp_path, STARTED, job_id=str(os.getppid()))).name == "gone"


def test_the_story_is_told_with_times_in_order(tmp_path: Path) -> None:
    lost, drained = {"event": "lost", "host": "n2"}, {"event": "draining", "reason": "walltime"}
    there = submission(tmp_path, STARTED, READY, lost, drained, {"event": "ended", "code": 75}, {"event": "requeued"})
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", "", line) for line in describe(there)] == [
        "submitted as job 999999999 (local)",
        "started on n1 with 2 nodes",
        "Ray was up on n1, n2 after 6.5 s",
        "lost n2",
        "drained: the walltime was near",
        "stopped",
        "requeued",
    ]


def test_the_log_is_followed_to_its_end(tmp_path: Path) -> None:
    there = submission(tmp_path, STARTED, {"event": "ended", "code": 0})
    there.log.write_text("annealed\ntrained\n")
    assert "".join(follow(there)) == "annealed\ntrained\n"


def test_the_latest_submission_of_a_run_is_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing was submitted"):
        latest(tmp_path)
    submission(tmp_path)
    second = Submission("17", "slurm", tmp_path / "submissions" / "002")
    second.folder.mkdir()
    tell(second.folder, "submitted", job_id="17", cluster="slurm")
    assert latest(tmp_path) == second


def test_where_slurm_is_not_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RunError, match=r"squeue .* is not on this machine"):
        state(submission(tmp_path, STARTED, cluster="slurm"))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_the_example_profiles_hold_and_give_way_to_what_is_asked_for(profile: Path) -> None:
    assert site_options({}, profile) != SubmitOptions()
    assert site_options({"nodes": 7, "partition": "short"}, profile).partition == "short"


def test_there_are_profiles() -> None:
    assert len(PROFILES) >= 2


def test_a_profile_of_the_user_is_taken_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert site_options({}).account is None
    (tmp_path / ".config" / "rayspin").mkdir(parents=True)
    (tmp_path / ".config" / "rayspin" / "site.toml").write_text('account = "spins"\n')
    assert site_options({}).account == "spins"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("acount = 'x'", "site.toml: acount: unknown key; did you mean 'account'"),
        ("account = ", "site.toml: can't be read"),
        ("nodes = 'four'", "site.toml: nodes: 'four' won't do"),
    ],
)
def test_a_profile_that_is_wrong_is_named_with_its_key(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(InputError, match=complaint):
        site_options({}, tmp_path / "site.toml")


def test_the_doctor_says_what_a_node_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4096")
    monkeypatch.setattr(doctor, "_ray", lambda *_: "not tried: its start is tested elsewhere")
    found = {finding.subject: finding for finding in doctor.examine(tmp_path / "runs", "ib9", None)}
    assert "add --cpu-bind=none" in found["CPUs"].remedy
    assert "no sbatch" in found["Slurm"].found
    assert "take one of" in found["network"].remedy
    assert found["run folder"].remedy == ""
    assert list((tmp_path / "runs").iterdir()) == []
