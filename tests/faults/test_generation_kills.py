"""Generations whose actors, driver, raylet, GCS or node are killed, and two runs in the same folder."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.folders import check_complete, check_finished, inodes, visible_files
from tests.support.runs import environment, finished, started, wait_until
from tests.support.soak import FULL, ROUNDS
from tests.support.two_nodes import NO_TOKEN, two_nodes

JOB = """\
kind = "generate"
samples = {samples}
size = 32
seed = 7
shard_samples = 2
hamiltonian = "labyrinth"
schedule = {{ sweeps = {sweeps}, quench_sweeps = 200 }}
splits = {{ test = 2, validation = 3 }}
"""
SHARD_SAMPLES = 2
SAMPLES = 160
FEW_SAMPLES = 40
SWEEPS = 100_000
"""With these sweeps a shard takes at least 0.3 s, so that kills hit shards in progress."""


@dataclass(frozen=True)
class Undisturbed:
    """A job that takes seconds, and the files of a run without faults."""

    job_file: Path
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return run_undisturbed(tmp_path_factory.mktemp("undisturbed"), SAMPLES)


@pytest.fixture(scope="module")
def few_undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A shorter job, for tests with a single fault."""
    return run_undisturbed(tmp_path_factory.mktemp("few"), FEW_SAMPLES)


def run_undisturbed(folder: Path, samples: int) -> Undisturbed:
    (folder / "job.toml").write_text(JOB.format(samples=samples, sweeps=SWEEPS))
    # The reference run does not use Ray.
    finished(folder / "job.toml", folder / "data", "--shards", "1/1")
    return Undisturbed(folder / "job.toml", visible_files(folder / "data"))


ENDS = ("driver", "gcs_server", "raylet", "driver")
"""The process that is killed last in each run, after some actors."""


@pytest.mark.timeout(900)
def test_repeatedly_killed_generation_gives_the_same_files(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """In successive runs of one job, actors and a process of the run are killed; each run ends and keeps its shards."""
    actors, ends = (4, ENDS) if FULL else (2, ENDS[:3])
    for number in range(ROUNDS):
        rng, folder = random.Random(number), tmp_path / f"killed-{number}"
        for last in ends:
            with started(undisturbed.job_file, folder) as run:
                for _ in range(actors):
                    run.wait_for_samples(rng.randint(1, 2) * SHARD_SAMPLES)
                    run.kill("ray::ShardMaker", rng)
                run.kill(last, rng)
                code, stderr = run.wait()
                if last == "driver":
                    assert code == -signal.SIGKILL
                else:
                    assert code == 1
                    assert re.match(
                        rf"Ray on this machine: its .*\b{last}\b.* died; completed work is saved; run the ", stderr
                    )
                run.check_processes_ended()
            check_complete(folder, undisturbed.files, writers=2)
            before = inodes(folder)
            assert len(before) < len(undisturbed.files) - 4, "the job was too short to be killed so often"
            assert len(before) <= run.samples() / SHARD_SAMPLES + 2, "more than one shard per actor was in progress"
        finished(undisturbed.job_file, folder)
        check_finished(folder, undisturbed.files)
        assert before.items() <= inodes(folder).items(), "an intact shard was written again"


def test_ray_that_does_not_start_in_time_is_a_one_line_error(tmp_path: Path) -> None:
    mark = {"RAYSPIN_TEST": os.fspath(tmp_path)}

    def descendants() -> set[int]:
        """The command and its descendants, found by a variable because other tests may run Ray at the same time."""
        found = (process.info for process in psutil.process_iter(["pid", "environ"]))
        return {info["pid"] for info in found if mark.items() <= (info["environ"] or {}).items()}

    code = "from rayspin.execution.embedded import EmbeddedRay; EmbeddedRay(1, start_s=0.7).wait()"
    seen: set[int] = set()
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment(**mark), stderr=subprocess.PIPE, text=True
    ) as driver:
        while driver.poll() is None:
            seen |= descendants()
        assert driver.returncode == 1
        assert driver.stderr is not None
        assert driver.stderr.read() == "Ray on this machine: did not start within 1 s; run the same command again\n"
    assert len(seen) > 1, "no process was started"
    wait_until(lambda: not descendants())


def test_second_ctrl_c_ends_a_run_immediately(tmp_path: Path) -> None:
    """The first Ctrl-C waits for shards that take minutes. Ray wraps an exception that a handler raises meanwhile."""
    (tmp_path / "job.toml").write_text(JOB.format(samples=8, sweeps=30_000_000))
    with started(tmp_path / "job.toml", tmp_path / "data") as run:
        run.wait_for(lambda: run.find("ray::ShardMaker.work"))
        while run.driver.poll() is None:
            run.driver.send_signal(signal.SIGINT)
            # Two signals that arrive before the first one is handled count as one.
            with suppress(subprocess.TimeoutExpired):
                run.driver.wait(5)
        stderr = "run: stopped by SIGINT with completed work saved; run the same command again to resume\n"
        assert run.wait() == (75, stderr)
        run.check_processes_ended()


def test_second_run_is_refused_unless_the_first_one_is_dead(few_undisturbed: Undisturbed, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with started(few_undisturbed.job_file, folder, SLURM_JOB_ID="4711") as first:
        first.wait_for_samples(1)
        with started(few_undisturbed.job_file, folder) as second:
            code, stderr = second.wait()
        holder = f"in use by process {first.driver.pid} on {socket.gethostname()} (job 4711, since "
        assert code == 1
        assert stderr.startswith(f"{folder}: {holder}"), stderr
        assert stderr.endswith("; wait until it ends, or stop it\n"), stderr
        first.driver.kill()
        first.driver.wait()
    # The lock of a dead process does not delay the next run.
    finished(few_undisturbed.job_file, folder, "--shards", "1/1")
    check_finished(folder, few_undisturbed.files)


def test_generation_finishes_after_the_loss_of_a_node(few_undisturbed: Undisturbed, tmp_path: Path) -> None:
    """The driver runs on the first of two nodes, and the second one is killed during the run."""
    with (
        two_nodes() as cluster,
        started(few_undisturbed.job_file, tmp_path / "data", "--address", cluster.address, **NO_TOKEN) as run,
    ):
        run.wait_for_samples(6)
        cluster.kill_second_node()
        samples_before = run.samples()
        assert run.wait() == (0, "")
    assert samples_before < FEW_SAMPLES - 10
    check_finished(tmp_path / "data", few_undisturbed.files)
