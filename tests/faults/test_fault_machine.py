"""A disk that is full, a clock that leaps, another CPU: the command line, from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig import JOB, check_finished, check_whole, environment, visible

pytestmark = [pytest.mark.faults, pytest.mark.slow]

LARGER = JOB.replace("samples = 3", "samples = 60").replace("size = 8", "size = 48")
"""Thirty shards, 1.8 MB."""

LONGER = LARGER.replace("sweeps = 20,", "sweeps = 20000,")
"""The same with some seconds of work."""


@contextmanager
def started(*arguments: object, **variables: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-X", "faulthandler", "-m", "rayspin", *map(str, arguments)]
    with subprocess.Popen(
        command, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        said = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        # Where each of its threads is, before it goes.
        process.send_signal(signal.SIGABRT)
        pytest.fail(f"no end after 200 s:\n{process.communicate()[1]}")
    return subprocess.CompletedProcess(process.args, process.returncode, *said)


def rayspin(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    with started(*arguments, **variables) as process:
        return ended(process)


@pytest.fixture(scope="module")
def job_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("job") / "job.toml"
    path.write_text(LARGER)
    return path


@pytest.fixture(scope="module")
def undisturbed(job_file: Path) -> dict[str, bytes]:
    """Made without Ray, on an ordinary disk, clock and CPU."""
    done = rayspin("run", job_file, "--out", job_file.parent / "data", "--shards", "1/1")
    assert done.returncode == 0, done.stderr
    return visible(job_file.parent / "data")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small disk, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.ray
@pytest.mark.parametrize("mode", [(), ("--shards", "1/1")], ids=["ray", "array"])
def test_a_full_disk_ends_the_run_in_one_line_and_with_room_it_goes_on(
    mode: tuple[str, ...], small_disk: Path, job_file: Path, undisturbed: dict[str, bytes]
) -> None:
    folder = small_disk / "data"
    command = ("run", job_file, "--out", folder, *mode)
    line = f"{folder}: No space left on device; make room there, then the same command again: it goes on\n"
    for _ in range(2):
        full = rayspin(*command)
        assert (full.returncode, full.stderr) == (1, line.replace("then the same", "then run the same")), full.stderr
        check_whole(folder, undisturbed, writers=0)
        assert not list(folder.glob("failed-*"))
    assert 0 < len(list(folder.glob("shard-*.nc"))) < 30
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    done = rayspin(*command)
    assert done.returncode == 0, done.stderr
    check_finished(folder, undisturbed)


@pytest.mark.ray
@pytest.mark.parametrize("stop_after", [200, 15])
def test_a_clock_that_leaps_changes_nothing(interpose: Path, tmp_path: Path, stop_after: int) -> None:
    """A year back and ahead again each second, in Ray's processes too; with a deadline that must not come, or must.

    From the first shard on: Ray's own start may wait for ever if clocks leap.
    """
    samples = {200: 60, 15: 20000}[stop_after]
    (tmp_path / "job.toml").write_text(LONGER.replace("samples = 60", f"samples = {samples}"))
    folder, leap = tmp_path / "data", tmp_path / "leap"
    leaping = {"LD_PRELOAD": str(interpose), "WALL_CLOCK_JUMPS": str(leap)}
    with started("run", tmp_path / "job.toml", "--out", folder, "--stop-after", stop_after, **leaping) as process:
        while not list(folder.glob("shard-*.nc")) and process.poll() is None:
            time.sleep(0.02)
        leap.touch()
        done = ended(process)
    assert done.returncode == {200: 0, 15: 75}[stop_after], done.stderr
    if stop_after == 200:
        in_peace = rayspin("run", tmp_path / "job.toml", "--out", tmp_path / "peace", "--shards", "1/1")
        assert in_peace.returncode == 0, in_peace.stderr
        check_finished(folder, visible(tmp_path / "peace"))


def test_another_cpu_makes_the_same_files(job_file: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """No FMA and no AVX2 in libm and NumPy, machine code for any x86-64."""
    other = {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": os.fspath(tmp_path / "cache"),
    }
    done = rayspin("run", job_file, "--out", tmp_path / "data", "--shards", "1/1", **other)
    assert done.returncode == 0, done.stderr
    check_finished(tmp_path / "data", undisturbed)
