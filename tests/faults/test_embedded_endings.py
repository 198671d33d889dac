"""Exit codes and messages of a run whose embedded Ray, or a process of it, is killed."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from rayspin.storage import Catalog
from tests.support.runs import LONG_S, alive, environment, wait_until

JOB = """\
kind = "generate"
samples = {samples}
size = 32
seed = 7
shard_samples = 1
hamiltonian = "labyrinth"
schedule = {{ sweeps = 100_000, quench_sweeps = 200 }}
"""
"""A job whose shards take at least 0.2 s each."""

KEEPER, AGENT = "rayspin.execution.embedded", "ray::RuntimeEnvAgent"
RESUMES = "completed work is saved; run the same command again to resume"

wait_for = functools.partial(wait_until, seconds=120)


@contextmanager
def started(
    folder: Path, samples: int, *before: str, code: str = "", **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """Start a run with an embedded Ray in a new process group; kill it at the end of the block."""
    (folder / "job.toml").write_text(JOB.format(samples=samples))
    program = ["-c", code] if code else ["-m", "rayspin"]
    command = [*before, sys.executable, "-P", *program, "run", folder / "job.toml", "--out", folder / "data"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment(**variables), stdout=pipe, stderr=pipe, text=True, process_group=0
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def descendants(run: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(run.pid).children(recursive=True)


def find(run: subprocess.Popen[str], text: str) -> psutil.Process | None:
    for process in descendants(run):
        try:
            if text in " ".join(process.cmdline()):
                return process
        except psutil.Error:
            continue
    return None


def shards_done(folder: Path) -> int:
    return len(Catalog.read(folder / "data").records)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_signal_to_the_process_group_drains_the_run(tmp_path: Path, number: signal.Signals) -> None:
    """`timeout`, Slurm and systemd send signals in this way."""
    with started(tmp_path, 2000) as run:
        wait_for(lambda: shards_done(tmp_path) > 1)
        members = descendants(run)
        os.killpg(run.pid, number)
        _, stderr = run.communicate(timeout=60)
        assert (run.returncode, stderr.count("\n")) == (75, 1), stderr
        assert f"stopped by {number.name} with" in stderr
        wait_for(lambda: not any(map(alive, members)))


def test_sigterm_while_ray_connects_drains_the_run(tmp_path: Path) -> None:
    """While it connects, Ray installs a handler of its own that would end the process without a message."""
    code = (
        "import os, signal, time\n"
        "from rayspin import cli, signals\n"
        "signals.hold()\n"
        "import ray\n"
        "connect = ray.init\n"
        "def init(*arguments, **options):\n"
        "    connected = connect(*arguments, **options)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.5)\n"
        "    return connected\n"
        "ray.init = init\n"
        "cli.main()\n"
    )
    with started(tmp_path, 2000, code=code) as run:
        _, stderr = run.communicate(timeout=LONG_S)
    assert (run.returncode, stderr.count("\n")) == (75, 1), stderr
    assert "stopped by SIGTERM with" in stderr


@pytest.mark.parametrize(
    ("victim", "problem"),
    [
        # When this agent dies, other daemons of Ray end as well.
        (AGENT, rf"its (\w+ and )*RuntimeEnvAgent( and \w+)* died; {RESUMES}, and check the free memory.*"),
        (KEEPER, rf"its keeper process ended \(SIGKILL, {KEEPER}\); {RESUMES}"),
    ],
)
def test_death_of_a_helper_process_is_a_one_line_error(tmp_path: Path, victim: str, problem: str) -> None:
    with started(tmp_path, 2000) as run:
        wait_for(lambda: shards_done(tmp_path) > 1)
        members, process = descendants(run), find(run, victim)
        assert process is not None
        process.kill()
        _, stderr = run.communicate(timeout=60)
        assert run.returncode == 1
        assert re.fullmatch(rf"Ray on this machine: {problem}\n", stderr), stderr
        wait_for(lambda: not any(map(alive, members)))


@pytest.mark.parametrize("victim", [AGENT, KEEPER, "raylet/raylet", "gcs/gcs_server"])
def test_finished_job_exits_with_0_although_a_ray_process_died(tmp_path: Path, victim: str) -> None:
    """The process is killed after the job has finished and before the run ends."""
    code = (
        "import pathlib, time; from rayspin import cli, job\n"
        "run = job.run\n"
        "def then_wait(*arguments, **options):\n"
        "    summary = run(*arguments, **options)\n"
        f"    folder = pathlib.Path({os.fspath(tmp_path)!r})\n"
        "    (folder / 'ended').touch()\n"
        "    while not (folder / 'continue').exists(): time.sleep(0.02)\n"
        "    return summary\n"
        "job.run = then_wait\n"
        "cli.main()\n"
    )
    with started(tmp_path, 2, code=code) as run:
        wait_until((tmp_path / "ended").exists)
        members, process = descendants(run), find(run, victim)
        assert process is not None
        process.kill()
        wait_for(lambda: not alive(process))
        time.sleep(1)
        (tmp_path / "continue").touch()
        stdout, stderr = run.communicate(timeout=60)
        assert (run.returncode, stderr) == (0, "")
        assert "2 of 32 x 32" in stdout
        wait_for(lambda: not any(map(alive, members)))


def test_killed_run_leaves_no_processes_and_no_private_folder(tmp_path: Path) -> None:
    scratch = Path(f"/tmp/t{os.getpid()}")
    scratch.mkdir()
    try:
        with started(tmp_path, 2000, TMPDIR=str(scratch)) as run:
            wait_for(lambda: shards_done(tmp_path) > 1)
            members = descendants(run)
            assert len(list(scratch.glob("rs-*"))) == 1
            run.kill()
            run.wait()
            wait_for(lambda: not any(map(alive, members)))
            wait_for(lambda: not list(scratch.glob("rs-*")))
    finally:
        shutil.rmtree(scratch)
