"""Submission on this machine with submitit's local executor, real tasks and real Ray clusters."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin.errors import InputError
from rayspin.launch.job_requests import JobRequest
from rayspin.launch.submissions import State, Submission, cancel, follow, latest, states, wait
from rayspin.launch.submissions import describe as describe_submission
from rayspin.launch.submit import submit
from rayspin.physics import LABYRINTH, AnnealSchedule, anneal
from rayspin.status import describe
from rayspin.storage import open_dataset
from rayspin.storage.ledger import entries
from tests.support.runs import wait_until
from tests.support.submissions import DATA, JOB, event_lines, options, pipeline


class Machine:
    """Submission of jobs on this machine. An environment variable marks their processes."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.folder, self._mark = folder, f"RAYSPIN_TEST={mark}".encode()

    def process(self, *texts: str) -> int:
        """The ID of the only process whose command line contains all these texts."""
        (match,) = (pid for pid, command in self.processes().items() if all(text in command for text in texts))
        return match

    def submit(self, name: str = "run", *overrides: str, **table: Any) -> Submission:
        job_file = self.folder / "job.toml"
        job_file.write_text(JOB)
        submit_options = options(**{"cluster": "local", "nodes": 2, "time": "10", **table})
        return submit(job_file, self.folder / name, overrides, [JobRequest("", submit_options)])

    def submit_stages(self, stages: dict[str, str], after: dict[str, tuple[str, ...]], **table: Any) -> Submission:
        """Submit a pipeline with one job for each stage."""
        job_file = self.folder / "job.toml"
        job_file.write_text(pipeline(**stages))
        submit_options = options(cluster="local", time="10", **table)
        return submit(
            job_file,
            self.folder / "run",
            (),
            [JobRequest(name, submit_options, after.get(name, ())) for name in stages],
        )

    def processes(self) -> dict[int, str]:
        """The command lines of all processes of the submitted jobs, without zombies."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if self._mark in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
        return {pid: command for pid, command in found.items() if command}

    def wait(self, condition: Callable[[], object]) -> None:
        wait_until(condition, self.logs)

    def wait_for(self, submission: Submission, event: str, attempt: int = 0) -> dict[str, Any]:
        """The first event of that name in an attempt."""

        def matching_events() -> list[dict[str, Any]]:
            events = event_lines(submission.parts[0].folder)
            return [entry for entry in events if entry["event"] == event and entry.get("attempt", 0) == attempt]

        self.wait(matching_events)
        return matching_events()[0]

    def logs(self) -> str:
        logs = sorted(self.folder.glob("*/submissions/*/*.[ol]*"))
        return "\n".join([*self.processes().values(), *(f"== {path}\n{path.read_text()}" for path in logs)])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    scratch = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setenv("RAYSPIN_TEST", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(scratch))
    # The jobs must ignore the address of another Ray cluster.
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    machine = Machine(tmp_path, str(tmp_path))
    yield machine
    # After each test no processes remain, and no temporary folders except that of the compiled kernels.
    machine.wait(lambda: not machine.processes())
    left = [path for path in scratch.iterdir() if not path.name.startswith("rayspin-kernels-")]
    shutil.rmtree(scratch)
    assert left == []


def expected_samples(count: int) -> np.ndarray[Any, Any]:
    schedule = AnnealSchedule(**tomllib.loads(JOB)["schedule"])
    return np.stack([anneal(LABYRINTH, size=32, schedule=schedule, seed=(11, sample)) for sample in range(count)])


def test_two_simultaneous_jobs_form_separate_clusters_with_correct_samples(machine: Machine) -> None:
    first, second = machine.submit("first"), machine.submit("second", "samples=4")
    for submission in (first, second):
        ready = machine.wait_for(submission, "ready")
        assert len(ready["hosts"]) == 2
        assert machine.wait_for(submission, "ended")["code"] == 0, machine.logs()
    for name, count in (("first", 6), ("second", 4)):
        spins = open_dataset(machine.folder / name)["spins"].values
        np.testing.assert_array_equal(spins, expected_samples(count))
    assert "samples" in first.parts[0].log.read_text()
    assert [path.read_text() for path in first.folder.glob("rendezvous*")] == [""], "a secret remains"


LONG = ("samples=60", "shard_samples=1", "size=64", "schedule.sweeps=3000")


def test_job_near_its_walltime_drains_is_requeued_and_resumes(machine: Machine) -> None:
    submission = machine.submit("run", *LONG)
    run = machine.folder / "run"
    machine.wait(lambda: len(list(entries(run))) >= 3)
    # Slurm sends the signal to all processes of the job.
    for pid, command in machine.processes().items():
        # Processes of Ray may have ended since they were listed.
        if "submitit.local._local" not in command:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR2)
    assert machine.wait_for(submission, "draining")["reason"] == "walltime"
    assert machine.wait_for(submission, "ended")["code"] == 75
    before = len(list(entries(run)))
    assert machine.wait_for(submission, "ended", attempt=1)["code"] == 0, machine.logs()
    assert (3 <= before < 60, len(list(entries(run)))) == (True, 60), "a shard is missing or was generated twice"


def test_job_fails_with_a_reason_when_its_ray_head_dies(machine: Machine) -> None:
    submission = machine.submit("run", *LONG)
    machine.wait_for(submission, "ready")
    os.kill(machine.process("gcs/gcs_server"), signal.SIGKILL)
    ended = machine.wait_for(submission, "ended")
    assert ended["code"] == 1
    assert "its Ray node died; see" in ended["problem"]
    # The run had started and was not finished.
    assert len(list(entries(machine.folder / "run"))) < 60
    assert (submission.folder / "ray-0" / "gcs_server.out").exists()


def test_job_finishes_after_the_loss_of_a_node(machine: Machine) -> None:
    submission = machine.submit("run", *LONG, "samples=30")
    ready = machine.wait_for(submission, "ready")
    os.kill(machine.process("ray start", "--address="), signal.SIGKILL)
    assert machine.wait_for(submission, "lost")["host"] == ready["hosts"][1]
    assert machine.wait_for(submission, "ended")["code"] == 0, machine.logs()


def test_job_canceled_during_its_start_leaves_no_processes(machine: Machine) -> None:
    submission = machine.submit()
    started = machine.wait_for(submission, "started")
    os.kill(started["process"], signal.SIGTERM)
    assert machine.wait_for(submission, "ended")["code"] == 75
    assert not any(entry["event"] == "requeued" for entry in event_lines(submission.folder))


ARRAY = ("samples=12", "shard_samples=1")


def test_array_gives_correct_samples_without_ray(machine: Machine) -> None:
    submission = machine.submit("run", *ARRAY, nodes=1, array=3)
    assert [part.task for part in submission.parts] == [1, 2, 3]
    assert wait(submission) == State("done", "of 3: 3 done"), machine.logs()
    np.testing.assert_array_equal(open_dataset(machine.folder / "run")["spins"].values, expected_samples(12))
    # The last task marks the run as finished.
    assert describe(machine.folder / "run")[1]["state"] == "finished"
    assert not list(submission.folder.glob("**/ray-*")), "Ray was started"
    assert "".join(follow(submission)) == "done (of 3: 3 done)\n"


def test_task_of_an_array_drains_and_is_requeued_alone(machine: Machine) -> None:
    submission = machine.submit("run", *LONG, "samples=40", nodes=1, array=2)
    for part in submission.parts:
        machine.wait(lambda part=part: event_lines(part.folder))
    machine.wait(lambda: list((machine.folder / "run").glob("shard-*")))
    first = submission.parts[0]
    os.kill(event_lines(first.folder)[0]["process"], signal.SIGUSR2)
    assert wait(submission).name == "done", machine.logs()
    events = [[entry["event"] for entry in event_lines(part.folder)] for part in submission.parts]
    assert events[0] == ["started", "draining", "ended", "requeued", "started", "ended"]
    assert events[1] == ["started", "ended"]


def test_stages_wait_for_their_dependencies_and_finish_the_pipeline(machine: Machine) -> None:
    second = DATA.replace("seed = 11", "seed = 12")
    submission = machine.submit_stages({"first": DATA, "second": second}, {"second": ("first",)}, array=1)
    assert wait(submission).name == "done", machine.logs()
    first, last = (event_lines(part.folder) for part in submission.parts)
    assert first[-1]["time"] <= last[0]["time"]
    assert describe(machine.folder / "run")[1]["state"] == "finished"
    assert [line.split("  ", 1)[1].partition(" on ")[0] for line in describe_submission(submission)] == [
        f"submitted as job {submission.job_ids} (local)", "first task 1: started", "first task 1: done",
        "second task 1: started", "second task 1: done",
    ]  # fmt: skip


def test_dependent_stages_do_not_start_after_a_failed_stage(machine: Machine) -> None:
    (machine.folder / "run" / "first").mkdir(parents=True)
    (machine.folder / "run" / "first" / "ledger.jsonl").mkdir()
    submission = machine.submit_stages({"first": DATA, "second": DATA}, {"second": ("first",)}, array=1)
    end = wait(submission)
    assert (end.name, end.why) == ("refused", "first task 1 refused, second task 1 stopped")
    now = {part.stage: state for part, state in states(submission).items()}
    assert now["second"].why == "it never started: first task 1 refused"
    assert "ledger.jsonl: is a folder" in now["first"].why


def test_requeues_stop_after_attempts_without_progress(machine: Machine) -> None:
    # One shard takes far longer than the time limit of the job.
    submission = machine.submit(
        "run", "samples=1", "size=256", "schedule.sweeps=4000000", nodes=1, array=1, max_attempts_without_progress=2,
        drain_seconds=30,
    )  # fmt: skip
    for attempt in range(2):
        started = machine.wait_for(submission, "started", attempt)
        os.kill(started["process"], signal.SIGUSR2)
    end = wait(submission)
    assert end.name == "failed"
    assert "2 attempts in a row made no progress" in end.why
    assert [entry["event"] for entry in event_lines(submission.parts[0].folder)].count("requeued") == 1


def test_running_job_is_not_submitted_twice(machine: Machine) -> None:
    submission = machine.submit("run", *LONG, nodes=1, array=1)
    with pytest.raises(InputError, match=f"job {submission.job_ids} of this run is running; wait for it, or cancel"):
        machine.submit("run", *LONG, nodes=1, array=1)
    machine.wait_for(submission, "started")
    cancel(submission)
    assert wait(submission).name == "stopped"


def test_submit_prints_no_warnings_at_interpreter_exit(machine: Machine) -> None:
    (machine.folder / "job.toml").write_text(JOB)
    code = (
        "import sys; from rayspin.cli import main\n"
        "main(['submit', 'job.toml', '--cluster', 'local', '--array', '2', '--out', 'run'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=machine.folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert wait(latest(machine.folder / "run")).name == "done"


def test_doctor_checks_a_ray_node_and_its_token(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rayspin", "doctor", "--out", "runs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    output = re.sub(r"[│\s]+", " ", done.stdout)
    assert "requires its token" in output
    assert re.search(r"Ray of a command started with \d+ CPUs and stopped in", output), output
    assert list((tmp_path / "runs").iterdir()) == []
