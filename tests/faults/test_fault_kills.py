"""SIGKILL of actors, driver, raylet and GCS at random moments; a node lost; two runs at once."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from rig import check_finished, check_whole, environment, inodes, visible

from rayspin.storage import Catalog

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.ray]

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
SAMPLES = 160
FEW_SAMPLES = 60
SWEEPS = 100_000
"""A shard takes a third of a second or more: time enough to be killed in, and work enough for all the kills."""

ENDS_S = 30
"""What a driver gets to end that has lost its Ray; some six seconds are usual."""


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
    run_shards(folder / "job.toml", folder / "data")
    return Undisturbed(folder / "job.toml", visible(folder / "data"))


def run_shards(job_file: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "rayspin", "run", str(job_file), "--out", str(folder), "--shards", "1/1"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


class Run:
    """A run with a Ray of its own."""

    def __init__(self, driver: subprocess.Popen[str], folder: Path) -> None:
        self.driver, self.folder = driver, folder
        self.family: set[psutil.Process] = set()

    def done(self) -> int:
        return len(Catalog.read(self.folder).records)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.driver.poll() is None, f"the driver ended too early: {self.said()}"
            assert time.monotonic() < end, "no progress"
            time.sleep(0.01)

    def wait_for_shards(self, more: int) -> None:
        goal = self.done() + more
        self.wait_for(lambda: self.done() >= goal)
        self.family |= set(psutil.Process(self.driver.pid).children(recursive=True))

    def find(self, name: str) -> list[psutil.Process]:
        """Processes of this run whose command line starts so; actors are nameless for a moment between two calls."""
        found = []
        for process in psutil.Process(self.driver.pid).children(recursive=True):
            try:
                if os.path.basename(process.cmdline()[0]).startswith(name):  # noqa: PTH119  no path of ours
                    found.append(process)
            except (psutil.Error, IndexError):
                continue
        self.family |= set(found)
        return found

    def kill(self, name: str, chance: random.Random) -> None:
        """SIGKILL one process of that name, soon."""
        if name == "driver":
            time.sleep(chance.uniform(0, 0.3))
            self.driver.kill()
            return
        victims: list[psutil.Process] = []
        self.wait_for(lambda: bool(victims.extend(self.find(name)) or victims))
        time.sleep(chance.uniform(0, 0.3))
        chance.choice(sorted(victims, key=lambda process: process.pid)).kill()

    def said(self) -> str:
        return self.driver.stderr.read() if self.driver.stderr is not None else ""

    def check_gone(self) -> None:
        """Nothing of it runs any more, soon after its driver has ended."""
        end = time.monotonic() + 15
        while left := [process for process in self.family if running(process)]:
            assert time.monotonic() < end, [process.cmdline() for process in left]
            time.sleep(0.05)


def running(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def started(job_file: Path, folder: Path, *options: str, **variables: str) -> Iterator[Run]:
    """A run; whatever the test does, it does not outlive the block."""
    command = [sys.executable, "-m", "rayspin", "run", str(job_file), "--out", str(folder), *options]
    with subprocess.Popen(
        command, env=environment(**variables), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as driver:
        try:
            yield Run(driver, folder)
        finally:
            driver.kill()


ENDS = ("driver", "gcs_server", "raylet", "driver")
"""What is killed last in each run, after so many actors:"""
ACTORS = 4

NAMES = {"actor": "ray::ShardMaker"}


@pytest.mark.timeout(280)
def test_a_storm_of_kills_changes_no_byte(undisturbed: Undisturbed, tmp_path: Path, soak: int) -> None:
    """Twenty kills over five runs: each shard in place stays, each run ends in seconds, and so does its Ray."""
    for storm in range(soak):
        chance, folder = random.Random(storm), tmp_path / f"killed-{storm}"
        for last in ENDS:
            with started(undisturbed.job_file, folder) as run:
                for _ in range(ACTORS):
                    run.wait_for_shards(chance.randint(1, 2))
                    run.kill("ray::ShardMaker", chance)
                run.kill(last, chance)
                code = run.driver.wait(ENDS_S)
                if last == "driver":
                    assert code == -signal.SIGKILL
                else:
                    assert code == 1
                    assert run.said().startswith(
                        f"Ray on this machine: its {last} died; what is done is kept, and the "
                    )
                run.check_gone()
            check_whole(folder, undisturbed.files, writers=2)
            before = inodes(folder)
            assert len(before) < len(undisturbed.files) - 4, "the job was too short to be killed so often"
            assert len(before) <= run.done() + 2, "more than one shard an actor was in flight"
        with started(undisturbed.job_file, folder) as run:
            assert run.driver.wait(120) == 0, run.said()
        check_finished(folder, undisturbed.files)
        assert before.items() <= inodes(folder).items(), "a shard that was whole was made again"


def test_a_ray_that_does_not_start_is_given_up(few_undisturbed: Undisturbed, tmp_path: Path) -> None:
    mark = {"RAYSPIN_TEST": os.fspath(tmp_path)}

    def family() -> set[int]:
        """The run and all that it started; other tests may have a Ray of their own at the same time."""
        found = (process.info for process in psutil.process_iter(["pid", "environ"]))
        return {info["pid"] for info in found if mark.items() <= (info["environ"] or {}).items()}

    code = "from rayspin import cli; from rayspin.cluster import embedded; embedded._START_S = 0.7; cli.main()"
    command = [sys.executable, "-c", code, "run", few_undisturbed.job_file, "--out", tmp_path / "data"]
    seen: set[int] = set()
    with subprocess.Popen(command, env=environment(**mark), stderr=subprocess.PIPE, text=True) as driver:
        while driver.poll() is None:
            seen |= family()
        assert driver.returncode == 1
        assert driver.stderr is not None
        assert driver.stderr.read() == "Ray on this machine: no start within 1 s; run the same command again\n"
    assert len(seen) > 1, "it started nothing"
    end = time.monotonic() + 15
    while family():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_second_ctrl_c_ends_a_run_at_once_and_in_one_line(tmp_path: Path) -> None:
    """Ray wraps what a handler raises while it waits; the first Ctrl-C drains, with shards of minutes."""
    (tmp_path / "job.toml").write_text(JOB.format(samples=8, sweeps=3_000_000))
    with started(tmp_path / "job.toml", tmp_path / "data") as run:
        run.wait_for(lambda: bool(run.find("ray::ShardMaker.work")))
        for _ in range(2):
            run.driver.send_signal(signal.SIGINT)
            time.sleep(1)
        assert run.driver.wait(ENDS_S) == 75
        assert run.said() == "run: stopped by SIGINT with what its folder holds; the same command goes on\n"
        run.check_gone()


def test_a_second_run_is_refused_and_a_dead_one_taken_over(undisturbed: Undisturbed, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with started(undisturbed.job_file, folder, SLURM_JOB_ID="4711") as first:
        first.wait_for_shards(1)
        with started(undisturbed.job_file, folder) as second:
            assert second.driver.wait(30) == 1
            said = second.said()
        holder = f"process {first.driver.pid} on {socket.gethostname()} (job 4711, since "
        assert said.startswith(f"{folder}: {holder}"), said
        assert said.endswith(" works on it; wait for its end, or stop it\n"), said
        first.driver.kill()
        first.driver.wait()
    # At once: nobody waits for the dead.
    run_shards(undisturbed.job_file, folder)
    check_finished(folder, undisturbed.files)


@pytest.mark.timeout(280)
def test_a_lost_node_costs_time_only(few_undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Two nodes, the driver on the first; the second one dies in mid-run."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        # Ray asks for a token if another test of this process has an embedded Ray.
        mode = {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH_")}
        mode = mode or {"RAY_AUTH_MODE": "disabled"}
        with started(few_undisturbed.job_file, tmp_path / "data", "--address", cluster.address, **mode) as run:
            run.wait_for_shards(6)
            cluster.remove_node(node, allow_graceful=False)
            at_the_loss = run.done()
            assert run.driver.wait(180) == 0, run.said()
    finally:
        cluster.shutdown()
    assert at_the_loss < len(few_undisturbed.files) - 10
    check_finished(tmp_path / "data", few_undisturbed.files)
