"""Resources of a supervisor on its node: child processes, private folder and address."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from rayspin.errors import InputError
from rayspin.execution import ray_node
from rayspin.execution.ray_node import LONGEST_FOLDER, node_folder, own_ip, ray_environment
from tests.support.runs import LONG_S, wait_until

SLEEPS = "[sys.executable, '-c', 'import time; time.sleep(300)']"


def run_supervisor(body: str) -> subprocess.Popen[str]:
    """Start a separate process that runs `body` with the functions of `processes`."""
    head = """
        import os, signal, subprocess, sys, time
        from pathlib import Path
        from rayspin.execution.processes import *
        import psutil

        def descendants(pid):
            return [process.pid for process in psutil.Process(pid).children(recursive=True)]

        def ignores(pid, number):
            [mask] = [line.split()[1] for line in Path(f"/proc/{pid}/status").open() if line.startswith("SigIgn:")]
            return bool(int(mask, 16) >> number - 1 & 1)
    """
    command = [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(body)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_child_and_its_children_ignore_the_walltime_signal() -> None:
    supervisor = run_supervisor(f"""
        grandchild = "import subprocess, sys; sys.exit(subprocess.run({SLEEPS}).returncode)"
        child = Child([sys.executable, "-c", grandchild], os.environ)
        while len(descendants(os.getpid())) < 2: time.sleep(0.01)
        print([ignores(pid, signal.SIGUSR2) for pid in descendants(os.getpid())])
        for pid in descendants(os.getpid()): os.kill(pid, signal.SIGUSR2)
        print(child.ended(), len(descendants(os.getpid())))
        child.kill()
        end_descendants()
        print(descendants(os.getpid()))
    """)
    assert supervisor.communicate(timeout=LONG_S)[0].splitlines() == ["[True, True]", "None 2", "[]"]


def test_orphans_outside_the_process_group_are_ended() -> None:
    supervisor = run_supervisor(f"""
        adopt_orphans()
        orphan = "import subprocess, sys; print(subprocess.Popen({SLEEPS}, process_group=0).pid, flush=True)"
        child = Child([sys.executable, "-c", orphan], os.environ)
        while child.ended() is None: time.sleep(0.01)
        end_descendants()
    """)
    orphan = int(supervisor.communicate(timeout=LONG_S)[0])
    assert supervisor.returncode == 0
    assert has_ended(orphan)


def test_child_ends_when_its_parent_is_killed() -> None:
    supervisor = run_supervisor(f"""
        child = Child({SLEEPS}, os.environ)
        print(child._process.pid, flush=True)
        time.sleep(300)
    """)
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline())
    supervisor.kill()
    supervisor.communicate()
    wait_until(lambda: has_ended(child))


def test_child_that_ignores_sigterm_is_killed() -> None:
    supervisor = run_supervisor("""
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
        child = Child([sys.executable, "-c", code], os.environ)
        while not ignores(child._process.pid, signal.SIGTERM): time.sleep(0.01)
        child.stop(0.3)
        print(child.ended())
    """)
    assert supervisor.communicate(timeout=LONG_S)[0].splitlines()[-1] == str(-signal.SIGKILL)


def test_limit_of_open_files_is_raised_to_the_hard_limit() -> None:
    supervisor = run_supervisor("""
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 3000))
        allow_many_files()
        print(resource.getrlimit(resource.RLIMIT_NOFILE))
    """)
    assert supervisor.communicate(timeout=LONG_S)[0] == "(3000, 3000)\n"


def test_folder_of_a_node_is_private_and_deleted_afterwards(tmp_path: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    try:
        with node_folder(scratch) as folder:
            assert folder.parent == scratch
            assert folder.stat().st_mode & 0o777 == 0o700
            assert len(str(folder / "r")) <= LONGEST_FOLDER
            environment = ray_environment(folder, "s3cret", "ib0")
            token = Path(environment["RAY_AUTH_TOKEN_PATH"])
            assert (token.read_text(), token.stat().st_mode & 0o777) == ("s3cret", 0o600)
            assert environment["GLOO_SOCKET_IFNAME"] == "ib0"
        # Compiled kernels are kept for the next job.
        assert [path.name for path in scratch.iterdir()] == [f"rayspin-kernels-{os.getuid()}"]
    finally:
        shutil.rmtree(scratch)


def test_driver_inherits_no_address_of_another_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "neighbor:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the neighbor's")
    environment = ray_environment(tmp_path, "ours", None)
    assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN"} & environment.keys()
    assert environment["RAY_AUTH_MODE"] == "token"


def test_folders_of_killed_jobs_are_deleted_and_others_are_kept(tmp_path: Path) -> None:
    dead, living, foreign = tmp_path / "rs-dead", tmp_path / "rs-living", tmp_path / "rs-no-lock"
    for folder in (dead, living, foreign):
        folder.mkdir()
    (dead / "lock").touch()
    with (living / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ray_node._sweep(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"rs-living", "rs-no-lock"}


def test_unusable_scratch_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    for scratch, problem in (
        (long, "is longer than 30 characters"),
        (Path("/nowhere"), "is not a writable folder"),
    ):
        with pytest.raises(InputError, match=problem), node_folder(scratch):
            pass


def test_tmpdir_with_a_long_path_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 60)))
    with node_folder(None) as folder:
        assert folder.parent == Path("/tmp")


def test_address_of_an_interface() -> None:
    assert own_ip("lo") == "127.0.0.1"
    with pytest.raises(InputError, match=r"use one of: .*lo"):
        own_ip("ib9")


def test_server_can_listen_on_the_own_address() -> None:
    with socket.create_server((own_ip(), 0)) as server, socket.create_connection(server.getsockname()[:2]):
        pass
