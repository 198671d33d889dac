"""States and events of submissions, read from their files, site profiles, and the doctor."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rayspin.errors import InputError, RunError
from rayspin.launch import doctor
from rayspin.launch.events import Cancelled, Draining, Ended, Event, Lost, Ready, Requeued, Started, record_event
from rayspin.launch.job_requests import SiteProfile
from rayspin.launch.submissions import Part, Submission, cancel, describe, follow, latest, state, wait
from rayspin.status import describe as run_status


def submission(folder: Path, *events: Event, job_id: str = "999999999", cluster: str = "local") -> Submission:
    folder_of_submission = folder / "submissions" / "001"
    folder_of_submission.mkdir(parents=True)
    submitted = Submission(
        folder_of_submission, cluster, 1e9, (Part(job_id, folder_of_submission, folder_of_submission / "log"),)
    )
    submitted.write()
    for event in events:
        record_event(submitted.folder, event)
    return submitted


STARTED = Started(host="n1", process=1, nodes=2, mark="0")
READY = Ready(hosts=("n1", "n2"), seconds=6.5)


@pytest.mark.parametrize(
    ("events", "name", "why"),
    [
        ([], "gone", "check that the nodes share"),
        ([STARTED, READY], "gone", "ended without an exit code"),
        ([STARTED, READY, Ended(code=0)], "done", ""),
        ([STARTED, Ended(code=1, problem="Ray's head: died; see")], "failed", "Ray's head: died"),
        ([STARTED, READY, Ended(code=2)], "refused", ""),
        ([STARTED, READY, Cancelled(), Ended(code=75)], "stopped", ""),
    ],
)
def test_state_of_an_ended_job_follows_from_its_events(
    tmp_path: Path, events: list[Event], name: str, why: str
) -> None:
    submitted = submission(tmp_path, *events)
    assert state(submitted).name == name
    assert why in state(submitted).why
    assert state(submitted).final
    assert wait(submitted) == state(submitted)
    with pytest.raises(InputError, match=f"already {name}"):
        cancel(submitted)


def test_job_is_running_until_it_is_canceled(tmp_path: Path) -> None:
    # The command line contains "submitit", like that of submitit's controller.
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", "submitit"]) as process:
        submitted = submission(tmp_path, STARTED, job_id=str(process.pid))
        assert (state(submitted).name, state(submitted).final) == ("running", False)
        cancel(submitted)
        process.wait(10)
        assert state(submitted).name == "stopped"


def test_reused_process_id_is_not_taken_for_the_job(tmp_path: Path) -> None:
    assert state(submission(tmp_path, STARTED, job_id=str(os.getppid()))).name == "gone"


def test_describe_lists_the_events_in_order_with_times(tmp_path: Path) -> None:
    lost, draining = Lost(host="n2"), Draining(reason="walltime")
    submitted = submission(tmp_path, STARTED, READY, lost, draining, Ended(code=75), Requeued())
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", "", line) for line in describe(submitted)] == [
        "submitted as job 999999999 (local)",
        "started on n1 with 2 nodes",
        "Ray was up on n1, n2 after 6.5 s",
        "lost node n2",
        "draining before the walltime",
        "stopped",
        "requeued",
    ]


def test_follow_yields_the_log_to_its_end(tmp_path: Path) -> None:
    submitted = submission(tmp_path, STARTED, Ended(code=0))
    submitted.parts[0].log.write_text("annealed\ntrained\n")
    assert "".join(follow(submitted)) == "annealed\ntrained\n"


def test_latest_submission_of_a_run_is_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="never submitted"):
        latest(tmp_path)
    submission(tmp_path)
    folder = tmp_path / "submissions" / "002"
    folder.mkdir()
    second = Submission(folder, "slurm", 2e9, (Part("17", folder, Path("/elsewhere/17.out")),))
    second.write()
    assert latest(tmp_path) == second
    tmp_path.joinpath("submissions").rename(tmp_path / "moved")
    (tmp_path / "run").mkdir()
    (tmp_path / "moved").rename(tmp_path / "run" / "submissions")
    assert latest(tmp_path / "run").parts[0].folder == tmp_path / "run" / "submissions" / "002"


def test_status_lists_the_events_of_all_recorded_submissions(tmp_path: Path) -> None:
    # This submission was killed before it wrote its record.
    (tmp_path / "submissions" / "refused").mkdir(parents=True)
    # Folders of plain scripts are named after job IDs; these two jobs were submitted in the same second.
    for job_id, code in (("9", 1), ("10", 0)):
        folder = tmp_path / "submissions" / job_id
        folder.mkdir()
        Submission(folder, "slurm", 1e9, (Part(job_id, folder, folder / "log"),)).write()
        record_event(folder, STARTED)
        record_event(folder, Ended(code=code))
    _, rows = run_status(tmp_path)
    assert "job 9" not in rows
    assert rows["job 10"] == "done"
    assert [line.split("  ", 1)[1] for line in rows["events"].splitlines()] == [
        "submitted as job 9 (slurm)", "started on n1 with 2 nodes", "failed",
        "submitted as job 10 (slurm)", "started on n1 with 2 nodes", "done",
    ]  # fmt: skip


def test_script_is_recorded_in_its_second_attempt_if_the_first_did_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job.toml").write_text(
        'kind = "generate"\nsamples = 2\nsize = 16\nhamiltonian = "labyrinth"\n'
        "schedule = { sweeps = 5, quench_sweeps = 5 }\n"
    )
    task = {"SLURM_ARRAY_JOB_ID": "17", **{f"SLURM_ARRAY_TASK_{name}": "1" for name in ("ID", "MIN", "MAX", "COUNT")}}
    process = {"SLURM_JOB_ID": "18", "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_RESTART_COUNT": "1"}
    out = str(tmp_path / "run")
    subprocess.run(
        [sys.executable, "-m", "rayspin.launch", "job.toml", "--out", out],
        cwd=tmp_path, env={**os.environ, **task, **process}, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    _, rows = run_status(tmp_path / "run")
    assert (rows["state"], rows["job 17"]) == ("finished", "done")
    assert "started on" in rows["events"]


def test_state_without_slurm_is_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RunError, match=r"squeue .*: command not found"):
        state(submission(tmp_path, STARTED, cluster="slurm"))


def test_the_last_of_nodes_and_array_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("nodes = 4\n[kind.generate]\nnodes = 1\narray = 16\n")
    site = SiteProfile.read(tmp_path / "site.toml")
    found = [site.options("generate", overrides) for overrides in ({}, {"nodes": 8}, {"array": 3})]
    assert [(options.nodes, options.array) for options in found] == [(1, 16), (8, None), (1, 3)]
    found = [site.options("tune", overrides) for overrides in ({}, {"nodes": 8}, {"array": 3})]
    assert [(options.nodes, options.array) for options in found] == [(4, None), (8, None), (1, 3)]


def test_profile_in_the_home_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SiteProfile.read().options("tune").account is None
    (tmp_path / ".config" / "rayspin").mkdir(parents=True)
    (tmp_path / ".config" / "rayspin" / "site.toml").write_text('account = "spins"\n')
    assert SiteProfile.read().options("tune").account == "spins"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acount = 'x'", "site.toml: acount: unknown key; did you mean 'account'"),
        ("account = ", "site.toml: not valid TOML"),
        ("nodes = 'four'", "site.toml: nodes: 'four' is invalid"),
        ("kind = 3", "site.toml: kind: 3 is not a table"),
        ("[kind.tran-fcn]\nnodes = 2", "site.toml: kind.tran-fcn: matches no kind of job; did you mean 'train-fcn'"),
        ("[kind.'train-*']\nnode = 2", r"site.toml: kind.train-\*: node: unknown key; did you mean 'nodes'"),
        ("time = '4'\ndrain_seconds = 30\n[kind.tune]\ndrain_seconds = 200", "kind.tune: time: 4 is too short"),
    ],
)
def test_invalid_profile_is_reported_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        SiteProfile.read(tmp_path / "site.toml")


def test_doctor_reports_missing_requirements_of_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4096")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setattr(doctor, "RENDEZVOUS_SECONDS", 0.5)
    for check in ("_ray", "_embedded_ray"):
        monkeypatch.setattr(doctor, check, lambda *_: "not tried: its start is tested elsewhere")
    found = {finding.subject: finding for finding in doctor.examine(tmp_path / "runs", "ib9", None)}
    assert "add --cpu-bind=none" in found["CPUs"].remedy
    assert "missing: sbatch" in found["Slurm"].found
    assert "use one of" in found["network"].remedy
    assert found["run folder"].remedy == ""
    assert "short enough" in found["local disk"].found
    assert "use one of" in found["other nodes"].remedy
    assert list((tmp_path / "runs").iterdir()) == []
    single = {finding.subject: finding for finding in doctor.examine(tmp_path / "runs", "lo", None)}["other nodes"]
    assert single == doctor.Finding(
        "other nodes", "0 of 1 connected", "set interface, or ask the site to open TCP ports between its nodes"
    )
    assert list((tmp_path / "runs").iterdir()) == []
