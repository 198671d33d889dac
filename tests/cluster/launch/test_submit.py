"""Submission on this machine through submitit's local executor: real tasks, one real Ray cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayspin.cluster.launch.options import Piece, SiteProfile, SubmitOptions, pieces
from rayspin.cluster.launch.slurm import script, submit
from rayspin.cluster.launch.story import read_story
from rayspin.cluster.launch.submissions import State, Submission, cancel, follow, latest, states, wait
from rayspin.cluster.launch.submissions import describe as story
from rayspin.config import build
from rayspin.errors import InputError
from rayspin.job import load
from rayspin.physics import LABYRINTH, AnnealSchedule, anneal
from rayspin.status import describe
from rayspin.storage import open_dataset
from rayspin.storage.ledger import entries

pytestmark = pytest.mark.timed

JOB = """
kind = "generate"
samples = 6
size = 32
seed = 11
shard_samples = 2
hamiltonian = "labyrinth"
schedule = { sweeps = 20, quench_sweeps = 20 }
"""


def options(**table: Any) -> SubmitOptions:
    return build(SubmitOptions, table, "site.toml")


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        ("90", 90),
        ("90:00", 90),
        ("1:30:00", 90),
        ("0:89:01", 90),
        ("1-0", 1440),
        ("2-12:30", 3630),
        ("1-1:1:1", 1502),
    ],
)
def test_walltimes_are_read_as_slurm_reads_them(time: str, minutes: int) -> None:
    # sbatch(1), --time: the accepted formats.
    assert options(time=time).minutes == minutes


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"time": "two hours"}, "site.toml: time: 'two hours' is no walltime"),
        ({"time": "4", "drain_seconds": 120}, "site.toml: time: 4 leaves no time to work"),
        ({"nodes": 2, "min_nodes": 3}, "site.toml: min_nodes: 3 of 2 nodes"),
        ({"nodes": 0}, "site.toml: nodes: 0 won't do"),
        ({"partiton": "gpu"}, "site.toml: partiton: unknown key; did you mean 'partition'"),
        ({"cluster": "pbs"}, "site.toml: cluster: unknown value 'pbs'"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_the_reason(table: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        options(**table)


def directives(text: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def test_the_script_asks_slurm_for_what_the_options_say(tmp_path: Path) -> None:
    site = options(
        nodes=4, time="12:00:00", partition="gpu", account="spins", gpus_per_node=2, cpus_per_node=16,
        memory_per_node="64G", drain_seconds=300, modules=["python/3.11"], setup=["export A=1"],
        options={"reservation": "weekend"},
    )  # fmt: skip
    text = script(Path("jobs/quickstart.toml"), tmp_path / "run", ("samples=3",), [Piece("", site)])
    asked = directives(text)
    expected = {
        "nodes": "4", "ntasks-per-node": "1", "time": "720", "partition": "gpu", "account": "spins",
        "gpus-per-node": "2", "cpus-per-task": "16", "mem": "64G", "signal": "USR2@300", "requeue": "",
        "no-kill": "", "reservation": "weekend", "job-name": "rayspin-quickstart",
    }  # fmt: skip
    assert expected.items() <= asked.items()
    assert not {"exclusive", "wckey", "qos"} & asked.keys()
    assert text.index("module load python/3.11") < text.index("export A=1") < text.index("srun")
    assert "--set samples=3" in text
    assert not (tmp_path / "run").exists()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_whole_nodes_unless_cpus_are_asked_for(tmp_path: Path) -> None:
    def asked(**table: Any) -> bool:
        return "exclusive" in directives(script(Path("job.toml"), tmp_path, (), [Piece("", options(**table))]))

    assert asked()
    assert not asked(cpus_per_node=4)
    assert asked(cpus_per_node=4, exclusive=True)
    assert not asked(exclusive=False)


def test_without_slurm_submission_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "job.toml").write_text(JOB)
    with pytest.raises(InputError, match="no Slurm here"):
        submit(tmp_path / "job.toml", tmp_path / "run", (), [Piece("", options())])


class Machine:
    """Submits jobs on this machine whose processes can all be found again."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.folder, self._mark = folder, f"RAYSPIN_TEST={mark}".encode()

    def process(self, *words: str) -> int:
        """The one process of these jobs whose command line holds all the words."""
        (found,) = (pid for pid, command in self.processes().items() if all(word in command for word in words))
        return found

    def submit(self, name: str = "run", *overrides: str, **table: Any) -> Submission:
        job_file = self.folder / "job.toml"
        job_file.write_text(JOB)
        asked = options(**{"cluster": "local", "nodes": 2, "time": "10", **table})
        return submit(job_file, self.folder / name, overrides, [Piece("", asked)])

    def submit_stages(self, stages: dict[str, str], after: dict[str, tuple[str, ...]], **table: Any) -> Submission:
        """A pipeline, stage by stage."""
        job_file = self.folder / "job.toml"
        job_file.write_text(pipeline(**stages))
        asked = options(cluster="local", time="10", **table)
        return submit(job_file, self.folder / "run", (), [Piece(name, asked, after.get(name, ())) for name in stages])

    def processes(self) -> dict[int, str]:
        """The command lines of all processes that descend from what was submitted here, zombies left out."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if self._mark in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
        return {pid: command for pid, command in found.items() if command}

    def wait(self, condition: Callable[[], object], seconds: float = 100.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def wait_for(self, submission: Submission, event: str, attempt: int = 0) -> dict[str, Any]:
        """The first event of that name in an attempt."""

        def found() -> list[dict[str, Any]]:
            story = read_story(submission.parts[0].folder)
            return [entry for entry in story if entry["event"] == event and entry.get("attempt", 0) == attempt]

        self.wait(found)
        return found()[0]

    def logs(self) -> str:
        logs = sorted(self.folder.glob("*/submissions/*/*.[ol]*"))
        return "\n".join([*self.processes().values(), *(f"== {path}\n{path.read_text()}" for path in logs)])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    scratch = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setenv("RAYSPIN_TEST", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(scratch))
    # If others run Ray on this machine, their addresses must make no difference.
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    submitter = Machine(tmp_path, str(tmp_path))
    yield submitter
    # Whatever a test did, nothing survives: no process, no folder on the node's disk but that of compiled kernels.
    submitter.wait(lambda: not submitter.processes(), 30)
    left = [path for path in scratch.iterdir() if not path.name.startswith("rayspin-kernels-")]
    shutil.rmtree(scratch)
    assert left == []


def samples_by_hand(count: int) -> np.ndarray[Any, Any]:
    schedule = AnnealSchedule(**tomllib.loads(JOB)["schedule"])
    return np.stack([anneal(LABYRINTH, size=32, schedule=schedule, seed=(11, sample)) for sample in range(count)])


@pytest.mark.ray
@pytest.mark.slow
def test_two_jobs_at_once_form_clusters_of_their_own_and_make_the_same_data(machine: Machine) -> None:
    first, second = machine.submit("first"), machine.submit("second", "samples=4")
    for submission in (first, second):
        ready = machine.wait_for(submission, "ready")
        assert len(ready["hosts"]) == 2
        assert machine.wait_for(submission, "ended")["code"] == 0, machine.logs()
    for name, count in (("first", 6), ("second", 4)):
        spins = open_dataset(machine.folder / name)["spins"].values
        np.testing.assert_array_equal(spins, samples_by_hand(count))
    assert "samples" in first.parts[0].log.read_text()
    assert [path.read_text() for path in first.folder.glob("meeting*")] == [""], "no secret is left"


LONG = ("samples=60", "shard_samples=1", "size=64", "schedule.sweeps=3000")


@pytest.mark.ray
@pytest.mark.slow
def test_near_its_walltime_a_job_is_drained_requeued_and_goes_on_where_it_was(machine: Machine) -> None:
    submission = machine.submit("run", *LONG)
    run = machine.folder / "run"
    machine.wait(lambda: len(list(entries(run))) >= 3)
    # To all processes of the job, as Slurm does it.
    for pid, command in machine.processes().items():
        # Some of Ray's end at any moment.
        if "submitit.local._local" not in command:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR2)
    assert machine.wait_for(submission, "draining")["reason"] == "walltime"
    assert machine.wait_for(submission, "ended")["code"] == 75
    before = len(list(entries(run)))
    assert machine.wait_for(submission, "ended", attempt=1)["code"] == 0, machine.logs()
    assert (3 <= before < 60, len(list(entries(run)))) == (True, 60), "no shard was made twice"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.faults
def test_without_its_head_a_job_ends_at_once_and_says_why(machine: Machine) -> None:
    submission = machine.submit("run", *LONG)
    machine.wait_for(submission, "ready")
    os.kill(machine.process("gcs/gcs_server"), signal.SIGKILL)
    start = time.monotonic()
    ended = machine.wait_for(submission, "ended")
    assert ended["code"] == 1
    assert "its Ray node died; see" in ended["problem"]
    assert time.monotonic() - start < 20
    assert (submission.folder / "ray-0" / "gcs_server.out").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.faults
def test_a_lost_node_is_done_without(machine: Machine) -> None:
    submission = machine.submit("run", *LONG, "samples=30")
    ready = machine.wait_for(submission, "ready")
    os.kill(machine.process("ray start", "--address="), signal.SIGKILL)
    assert machine.wait_for(submission, "lost")["host"] == ready["hosts"][1]
    assert machine.wait_for(submission, "ended")["code"] == 0, machine.logs()


@pytest.mark.ray
def test_cancelled_while_it_starts_a_job_leaves_nothing(machine: Machine) -> None:
    submission = machine.submit()
    started = machine.wait_for(submission, "started")
    os.kill(started["process"], signal.SIGTERM)
    assert machine.wait_for(submission, "ended")["code"] == 75
    assert not any(entry["event"] == "requeued" for entry in read_story(submission.folder))


ARRAY = ("samples=12", "shard_samples=1")


@pytest.mark.slow
def test_an_array_makes_the_same_data_without_ray(machine: Machine) -> None:
    submission = machine.submit("run", *ARRAY, nodes=1, array=3)
    assert [part.task for part in submission.parts] == [1, 2, 3]
    assert wait(submission) == State("done", "of 3: 3 done"), machine.logs()
    np.testing.assert_array_equal(open_dataset(machine.folder / "run")["spins"].values, samples_by_hand(12))
    # The last task to end marks the whole.
    assert describe(machine.folder / "run")[1]["state"] == "finished"
    assert not list(submission.folder.glob("**/ray-*")), "no Ray was started"
    assert "".join(follow(submission)) == "done (of 3: 3 done)\n"


@pytest.mark.slow
def test_a_task_of_an_array_is_drained_and_goes_on_by_itself(machine: Machine) -> None:
    submission = machine.submit("run", *LONG, "samples=40", nodes=1, array=2)
    for part in submission.parts:
        machine.wait(lambda part=part: read_story(part.folder))
    machine.wait(lambda: list((machine.folder / "run").glob("shard-*")))
    first = submission.parts[0]
    os.kill(read_story(first.folder)[0]["process"], signal.SIGUSR2)
    assert wait(submission).name == "done", machine.logs()
    stories = [[entry["event"] for entry in read_story(part.folder)] for part in submission.parts]
    assert stories[0] == ["started", "draining", "ended", "requeued", "started", "ended"]
    assert stories[1] == ["started", "ended"]


def pipeline(**stages: str) -> str:
    tables = [f"[stages.{name}]\n{text}" for name, text in stages.items()]
    return "\n".join(['kind = "pipeline"', *tables])


DATA = JOB.strip()
EVALUATE = 'kind = "evaluate-fcn"\ndataset = "@data"\nweights = "@train"\n'
TRAIN = 'kind = "train-fcn"\ndataset = "@data"\n'


def test_stages_become_pieces_with_resources_and_predecessors_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(pipeline(data=DATA, train=TRAIN, more=DATA, evaluate=EVALUATE))
    (tmp_path / "site.toml").write_text(
        'partition = "cpu"\n[kind."train-*"]\npartition = "gpu"\ngpus_per_node = 4\n[kind.generate]\narray = 8\n'
    )
    job = load(tmp_path / "job.toml")
    site = SiteProfile.read(tmp_path / "site.toml")
    found = {piece.stage: piece for piece in pieces(job, site, {"time": "4:00:00"}, {"train": {"nodes": 2}})}
    assert {name: piece.after for name, piece in found.items()} == {
        "data": (), "train": ("data",), "more": (), "evaluate": ("data", "train"),
    }  # fmt: skip
    train, data = found["train"].options, found["data"].options
    assert (train.partition, train.gpus_per_node, train.nodes, train.array) == ("gpu", 4, 2, None)
    assert (data.partition, data.gpus_per_node, data.nodes, data.array) == ("cpu", 0, 1, 8)
    assert {piece.options.time for piece in found.values()} == {"4:00:00"}
    text = script(tmp_path / "job.toml", tmp_path / "run", (), list(found.values()))
    assert "--dependency=afterok:JOB-ID-OF-data:JOB-ID-OF-train" in text
    assert text.count("#SBATCH --kill-on-invalid-dep=yes") == 2
    assert text.count("#SBATCH --array=0-7") == 2
    assert "--stage data --shards K/8\n" in text
    assert "--stage train --address" in text
    (one,) = pieces(job, SiteProfile({}, {}), {}, one_job=True)
    assert one == Piece("", SubmitOptions())


@pytest.mark.parametrize(
    ("given", "for_stages", "complaint"),
    [
        ({"array": 4, "nodes": 2}, {}, "submit: nodes: 2 for each of 4 tasks"),
        ({}, {"trian": {"nodes": 2}}, "--for trian: no stage of this pipeline; did you mean 'train'"),
        ({}, {"train": {"node": 2}}, "submit: node: unknown key; did you mean 'nodes'"),
        ({}, {"train": {"array": 2}}, "train: array: 'train-fcn' is no generation"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(
    tmp_path: Path, given: dict[str, Any], for_stages: dict[str, Any], complaint: str
) -> None:
    (tmp_path / "job.toml").write_text(pipeline(data=DATA, train=TRAIN))
    with pytest.raises(InputError, match=complaint):
        pieces(load(tmp_path / "job.toml"), SiteProfile({}, {}), given, for_stages)


def test_one_job_has_no_options_for_stages_and_only_generation_is_an_array(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(TRAIN.replace("@data", "runs/data"))
    job = load(tmp_path / "job.toml")
    with pytest.raises(InputError, match="only stages of a pipeline have options"):
        pieces(job, SiteProfile({}, {}), {}, {"train": {"nodes": 2}})
    with pytest.raises(InputError, match="array: 'train-fcn' is no generation"):
        pieces(job, SiteProfile({}, {}), {"array": 2})


@pytest.mark.slow
def test_stages_wait_for_those_that_they_refer_to_and_the_last_one_ends_the_pipeline(machine: Machine) -> None:
    second = DATA.replace("seed = 11", "seed = 12")
    submission = machine.submit_stages({"first": DATA, "second": second}, {"second": ("first",)}, array=1)
    assert wait(submission).name == "done", machine.logs()
    first, last = (read_story(part.folder) for part in submission.parts)
    assert first[-1]["time"] <= last[0]["time"]
    assert describe(machine.folder / "run")[1]["state"] == "finished"
    assert [line.split("  ", 1)[1].partition(" on ")[0] for line in story(submission)] == [
        f"submitted as job {submission.job_ids} (local)", "first task 1: started", "first task 1: done",
        "second task 1: started", "second task 1: done",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_failed_stage_keeps_those_after_it_from_starting(machine: Machine) -> None:
    (machine.folder / "run" / "first").mkdir(parents=True)
    (machine.folder / "run" / "first" / "ledger.jsonl").mkdir()
    submission = machine.submit_stages({"first": DATA, "second": DATA}, {"second": ("first",)}, array=1)
    end = wait(submission)
    assert (end.name, end.why) == ("failed", "first task 1 failed, second task 1 stopped")
    now = {part.stage: state for part, state in states(submission).items()}
    assert now["second"].why == "it never started: first task 1 failed"
    assert "IsADirectoryError" in now["first"].why


@pytest.mark.slow
def test_a_job_that_gets_nowhere_is_not_requeued_for_ever(machine: Machine) -> None:
    # One shard takes far longer than the job is given.
    submission = machine.submit(
        "run", "samples=1", "size=256", "schedule.sweeps=4000000", nodes=1, array=1, fruitless_attempts=2,
        drain_seconds=30,
    )  # fmt: skip
    for attempt in range(2):
        started = machine.wait_for(submission, "started", attempt)
        time.sleep(2)
        os.kill(started["process"], signal.SIGUSR2)
    end = wait(submission)
    assert end.name == "failed"
    assert "2 attempts in a row made no progress" in end.why
    assert [entry["event"] for entry in read_story(submission.parts[0].folder)].count("requeued") == 1


def test_a_run_that_is_under_way_is_not_submitted_twice(machine: Machine) -> None:
    submission = machine.submit("run", *LONG, nodes=1, array=1)
    with pytest.raises(InputError, match=f"job {submission.job_ids} does this run and is running; rayspin cancel"):
        machine.submit("run", *LONG, nodes=1, array=1)
    machine.wait_for(submission, "started")
    cancel(submission)
    assert wait(submission).name == "stopped"


def test_submitting_leaves_no_noise_at_the_end_of_python(machine: Machine) -> None:
    (machine.folder / "job.toml").write_text(JOB)
    code = (
        "import sys; from rayspin.cli import main\n"
        "main(['submit', 'job.toml', '--cluster', 'local', '--array', '2', '--out', 'run'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=machine.folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert wait(latest(machine.folder / "run")).name == "done"
