"""How a run ends whose Ray, or a process beside it, is killed: the exit code tells what became of the work."""

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
"""A shard takes a fifth of a second or more."""

KEEPER, AGENT = "rayspin.execution.embedded", "ray::RuntimeEnvAgent"
RESUMES = "completed work is saved; run the same command again to resume"

wait_for = functools.partial(wait_until, seconds=120)


@contextmanager
def started(
    folder: Path, samples: int, *before: str, code: str = "", **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """A run with a Ray of its own, in a process group of its own, and all its processes gone after the block."""
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


def family(run: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(run.pid).children(recursive=True)


def find(run: subprocess.Popen[str], words: str) -> psutil.Process | None:
    for process in family(run):
        try:
            if words in " ".join(process.cmdline()):
                return process
        except psutil.Error:
            continue
    return None


def done(folder: Path) -> int:
    return len(Catalog.read(folder / "data").records)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_the_process_group_drains_the_run(tmp_path: Path, number: signal.Signals) -> None:
    """As `timeout`, Slurm and systemd send it."""
    with started(tmp_path, 2000) as run:
        wait_for(lambda: done(tmp_path) > 1)
        members = family(run)
        os.killpg(run.pid, number)
        _, said = run.communicate(timeout=60)
        assert (run.returncode, said.count("\n")) == (75, 1), said
        assert f"stopped by {number.name} with" in said
        wait_for(lambda: not any(map(alive, members)))


def test_sigterm_while_ray_connects_drains_the_run(tmp_path: Path) -> None:
    """At that time Ray has a handler of its own, which would end the process without a word of ours."""
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
        _, said = run.communicate(timeout=LONG_S)
    assert (run.returncode, said.count("\n")) == (75, 1), said
    assert "stopped by SIGTERM with" in said


@pytest.mark.parametrize(
    ("victim", "says"),
    [
        # Its death ends other daemons too.
        (AGENT, rf"its (\w+ and )*RuntimeEnvAgent( and \w+)* died; {RESUMES}, and check the free memory.*"),
        (KEEPER, rf"its keeper process ended \(SIGKILL, {KEEPER}\); {RESUMES}"),
    ],
)
def test_the_death_of_a_process_beside_the_run_is_told_in_one_line(tmp_path: Path, victim: str, says: str) -> None:
    with started(tmp_path, 2000) as run:
        wait_for(lambda: done(tmp_path) > 1)
        members, found = family(run), find(run, victim)
        assert found is not None
        found.kill()
        _, said = run.communicate(timeout=60)
        assert run.returncode == 1
        assert re.fullmatch(rf"Ray on this machine: {says}\n", said), said
        wait_for(lambda: not any(map(alive, members)))


@pytest.mark.parametrize("victim", [AGENT, KEEPER, "raylet/raylet", "gcs/gcs_server"])
def test_a_run_whose_work_is_done_ends_well_whatever_dies_then(tmp_path: Path, victim: str) -> None:
    """The signal to go on comes once a process of Ray is dead: all of the work, but not the run, has ended."""
    code = (
        "import pathlib, time; from rayspin import cli, job\n"
        "run = job.run\n"
        "def then_wait(*arguments, **options):\n"
        "    summary = run(*arguments, **options)\n"
        f"    here = pathlib.Path({os.fspath(tmp_path)!r})\n"
        "    (here / 'ended').touch()\n"
        "    while not (here / 'go-on').exists(): time.sleep(0.02)\n"
        "    return summary\n"
        "job.run = then_wait\n"
        "cli.main()\n"
    )
    with started(tmp_path, 2, code=code) as run:
        wait_until((tmp_path / "ended").exists)
        members, found = family(run), find(run, victim)
        assert found is not None
        found.kill()
        wait_for(lambda: not alive(found))
        time.sleep(1)
        (tmp_path / "go-on").touch()
        shown, said = run.communicate(timeout=60)
        assert (run.returncode, said) == (0, "")
        assert "2 of 32 x 32" in shown
        wait_for(lambda: not any(map(alive, members)))


def test_a_killed_run_leaves_neither_processes_nor_its_private_folder(tmp_path: Path) -> None:
    scratch = Path(f"/tmp/t{os.getpid()}")
    scratch.mkdir()
    try:
        with started(tmp_path, 2000, TMPDIR=str(scratch)) as run:
            wait_for(lambda: done(tmp_path) > 1)
            members = family(run)
            assert len(list(scratch.glob("rs-*"))) == 1
            run.kill()
            run.wait()
            wait_for(lambda: not any(map(alive, members)))
            wait_for(lambda: not list(scratch.glob("rs-*")))
    finally:
        shutil.rmtree(scratch)
