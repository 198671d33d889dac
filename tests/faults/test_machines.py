"""Runs of the command line with a full disk, with jumps of the system clock, and with another CPU."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayspin import job
from rayspin.config import build
from rayspin.jobs.tune.job import Tune
from rayspin.jobs.tune.ledger import Ledger
from tests.support import datasets
from tests.support.folders import JOB, check_complete, check_finished, visible_files
from tests.support.runs import finished, started
from tests.support.sweeps import table_of

LARGER = JOB.replace("samples = 3", "samples = 60").replace("size = 8", "size = 48")
"""A job of thirty shards, 1.8 MB in total."""

LONGER = LARGER.replace("sweeps = 20,", "sweeps = 20000,")
"""The same job with a schedule that takes seconds."""


@pytest.fixture(scope="module")
def job_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("job") / "job.toml"
    path.write_text(LARGER)
    return path


@pytest.fixture(scope="module")
def undisturbed(job_file: Path) -> dict[str, bytes]:
    """Files of a run without Ray and without faults."""
    finished(job_file, job_file.parent / "data", "--shards", "1/1")
    return visible_files(job_file.parent / "data")


class SmallDisk:
    """A separate file system whose size can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, size: str) -> None:
        """Mount the file system with this size."""
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", self.folder]
        if subprocess.run(command, check=False).returncode != 0:
            pytest.skip("mounting a file system requires root, and is forbidden in some containers")

    def resize(self, size: str) -> None:
        """Change the size of the file system."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    if disk.folder.is_mount():
        subprocess.run(["umount", "--lazy", disk.folder], check=True)


@pytest.mark.parametrize("mode", [(), ("--shards", "1/1")], ids=["ray", "array"])
def test_run_on_a_full_disk_fails_in_one_line_and_resumes_with_space(
    mode: tuple[str, ...], disk: SmallDisk, job_file: Path, undisturbed: dict[str, bytes]
) -> None:
    disk.mount("1m")
    folder = disk.folder / "data"
    line = f"{folder}: No space left on device; free some space there, then run the same command again to resume\n"
    for _ in range(2):
        with started(job_file, folder, *mode) as run:
            assert run.wait() == (1, line)
        check_complete(folder, undisturbed, writers=0)
        assert not list(folder.glob("failed-*"))
    assert 0 < len(list(folder.glob("shard-*.nc"))) < 30
    disk.resize("8m")
    finished(job_file, folder, *mode)
    check_finished(folder, undisturbed)


def test_sweep_on_a_full_disk_fails_no_trial_and_resumes_with_space(disk: SmallDisk, tmp_path: Path) -> None:
    data = datasets.make(datasets.labyrinths(16, 32, splits={"test": 0, "validation": 4}), tmp_path / "data")
    training = {"epochs": 4, "batch_size": 4}
    base = {"kind": "train-sr", "dataset": str(data), "network": {"scale": 4}, "training": training}
    sweep = build(Tune, {"base": base, "space": {"training.learning_rate": [0.01, 0.003, 0.001]}}, "")
    undisturbed = table_of(sweep, tmp_path / "undisturbed")
    job_file = tmp_path / "sweep.toml"
    job_file.write_text(job.to_toml(sweep))
    disk.mount("2500k")
    folder = disk.folder / "run"
    with started(job_file, folder) as run:
        code, stderr = run.wait()
    assert (code, stderr.count("\n")) == (1, 1), stderr
    assert "No space left on device; free some space there, then run the same command again to resume" in stderr
    assert not [entry for entry in Ledger(folder).trials.values() if entry.error]
    disk.resize("100m")
    finished(job_file, folder)
    assert (folder / "trials.csv").read_bytes() == undisturbed


@pytest.mark.parametrize("stop_after", [200, 30])
def test_jumps_of_the_system_clock_do_not_change_a_run(interpose: Path, tmp_path: Path, stop_after: int) -> None:
    """The clock jumps by a year in all processes, in one run with a deadline that expires and one that finishes.

    The jumps begin after the first shard, because the start of Ray may hang if the clock jumps.
    """
    samples = {200: 60, 30: 40000}[stop_after]
    (tmp_path / "job.toml").write_text(LONGER.replace("samples = 60", f"samples = {samples}"))
    folder, jumps = tmp_path / "data", tmp_path / "jumps"
    variables = {"LD_PRELOAD": str(interpose), "WALL_CLOCK_JUMPS": str(jumps)}
    with started(tmp_path / "job.toml", folder, "--stop-after", stop_after, **variables) as run:
        run.wait_for(lambda: list(folder.glob("shard-*.nc")))
        jumps.touch()
        code, stderr = run.wait()
    assert code == {200: 0, 30: 75}[stop_after], stderr
    if stop_after == 200:
        finished(tmp_path / "job.toml", tmp_path / "undisturbed", "--shards", "1/1")
        check_finished(folder, visible_files(tmp_path / "undisturbed"))


def test_another_cpu_gives_the_same_files(job_file: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """libm and NumPy run without FMA and AVX2, and Numba compiles for a generic x86-64."""
    other = {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": os.fspath(tmp_path / "cache"),
    }
    finished(job_file, tmp_path / "data", "--shards", "1/1", **other)
    check_finished(tmp_path / "data", undisturbed)
