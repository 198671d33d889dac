"""SIGKILL of actors, driver, raylet and GCS at random moments; a node lost; two runs at once."""

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

from tests.support.folders import check_finished, check_whole, inodes, visible
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
"""A shard takes a third of a second or more: time enough to be killed in, and work enough for all the kills."""


@dataclass(frozen=True)
class Undisturbed:
    """A job of seconds, and the files that it gives when nothing happens."""

    job_file: Path
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return made_in_peace(tmp_path_factory.mktemp("undisturbed"), SAMPLES)


@pytest.fixture(scope="module")
def few_undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A shorter job, for a single blow."""
    return made_in_peace(tmp_path_factory.mktemp("few"), FEW_SAMPLES)


def made_in_peace(folder: Path, samples: int) -> Undisturbed:
    (folder / "job.toml").write_text(JOB.format(samples=samples, sweeps=SWEEPS))
    # Without Ray, so that Ray is no part of what it is compared with.
    finished(folder / "job.toml", folder / "data", "--shards", "1/1")
    return Undisturbed(folder / "job.toml", visible(folder / "data"))


ENDS = ("driver", "gcs_server", "raylet", "driver")
"""What is killed last in each run, after some actors."""


@pytest.mark.timeout(900)
def test_a_storm_of_kills_changes_no_byte(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Up to twenty kills over five runs: each shard in place stays, each run ends by itself, and so does its Ray."""
    actors, ends = (4, ENDS) if FULL else (2, ENDS[:3])
    for storm in range(ROUNDS):
        chance, folder = random.Random(storm), tmp_path / f"killed-{storm}"
        for last in ends:
            with started(undisturbed.job_file, folder) as run:
                for _ in range(actors):
                    run.wait_for_samples(chance.randint(1, 2) * SHARD_SAMPLES)
                    run.kill("ray::ShardMaker", chance)
                run.kill(last, chance)
                code, said = run.ended()
                if last == "driver":
                    assert code == -signal.SIGKILL
                else:
                    assert code == 1
                    assert re.match(
                        rf"Ray on this machine: its .*\b{last}\b.* died; completed work is saved; run the ", said
                    )
                run.check_gone()
            check_whole(folder, undisturbed.files, writers=2)
            before = inodes(folder)
            assert len(before) < len(undisturbed.files) - 4, "the job was too short to be killed so often"
            assert len(before) <= run.samples() / SHARD_SAMPLES + 2, "more than one shard an actor was in flight"
        finished(undisturbed.job_file, folder)
        check_finished(folder, undisturbed.files)
        assert before.items() <= inodes(folder).items(), "a shard that was whole was made again"


def test_a_ray_that_does_not_start_is_given_up(tmp_path: Path) -> None:
    mark = {"RAYSPIN_TEST": os.fspath(tmp_path)}

    def family() -> set[int]:
        """The command and all that it started; other tests may have a Ray of their own at the same time."""
        found = (process.info for process in psutil.process_iter(["pid", "environ"]))
        return {info["pid"] for info in found if mark.items() <= (info["environ"] or {}).items()}

    code = "from rayspin.execution.embedded import EmbeddedRay; EmbeddedRay(1, start_s=0.7).wait()"
    seen: set[int] = set()
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment(**mark), stderr=subprocess.PIPE, text=True
    ) as driver:
        while driver.poll() is None:
            seen |= family()
        assert driver.returncode == 1
        assert driver.stderr is not None
        assert driver.stderr.read() == "Ray on this machine: did not start within 1 s; run the same command again\n"
    assert len(seen) > 1, "it started nothing"
    wait_until(lambda: not family())


def test_a_second_ctrl_c_ends_a_run_at_once_and_in_one_line(tmp_path: Path) -> None:
    """Ray wraps what a handler raises while it waits; the first Ctrl-C drains, with shards of minutes."""
    (tmp_path / "job.toml").write_text(JOB.format(samples=8, sweeps=30_000_000))
    with started(tmp_path / "job.toml", tmp_path / "data") as run:
        run.wait_for(lambda: run.find("ray::ShardMaker.work"))
        while run.driver.poll() is None:
            run.driver.send_signal(signal.SIGINT)
            # Two that come before the first was taken are one.
            with suppress(subprocess.TimeoutExpired):
                run.driver.wait(5)
        said = "run: stopped by SIGINT with completed work saved; run the same command again to resume\n"
        assert run.ended() == (75, said)
        run.check_gone()


def test_a_second_run_is_refused_and_a_dead_one_taken_over(few_undisturbed: Undisturbed, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with started(few_undisturbed.job_file, folder, SLURM_JOB_ID="4711") as first:
        first.wait_for_samples(1)
        with started(few_undisturbed.job_file, folder) as second:
            code, said = second.ended()
        holder = f"in use by process {first.driver.pid} on {socket.gethostname()} (job 4711, since "
        assert code == 1
        assert said.startswith(f"{folder}: {holder}"), said
        assert said.endswith("; wait until it ends, or stop it\n"), said
        first.driver.kill()
        first.driver.wait()
    # At once: nobody waits for the dead.
    finished(few_undisturbed.job_file, folder, "--shards", "1/1")
    check_finished(folder, few_undisturbed.files)


def test_a_lost_node_costs_time_only(few_undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Two nodes, the driver on the first; the second one dies in mid-run."""
    with (
        two_nodes() as cluster,
        started(few_undisturbed.job_file, tmp_path / "data", "--address", cluster.address, **NO_TOKEN) as run,
    ):
        run.wait_for_samples(6)
        cluster.lose_one()
        at_the_loss = run.samples()
        assert run.ended() == (0, "")
    assert at_the_loss < FEW_SAMPLES - 10
    check_finished(tmp_path / "data", few_undisturbed.files)
