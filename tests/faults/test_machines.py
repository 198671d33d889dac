"""A disk that is full, a clock that leaps, another CPU: the command line, from outside."""

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
from tests.support.folders import JOB, check_finished, check_whole, visible
from tests.support.runs import finished, started
from tests.support.sweeps import table_of

LARGER = JOB.replace("samples = 3", "samples = 60").replace("size = 8", "size = 48")
"""Thirty shards, 1.8 MB."""

LONGER = LARGER.replace("sweeps = 20,", "sweeps = 20000,")
"""The same with some seconds of work."""


@pytest.fixture(scope="module")
def job_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("job") / "job.toml"
    path.write_text(LARGER)
    return path


@pytest.fixture(scope="module")
def undisturbed(job_file: Path) -> dict[str, bytes]:
    """Made without Ray, on an ordinary disk, clock and CPU."""
    finished(job_file, job_file.parent / "data", "--shards", "1/1")
    return visible(job_file.parent / "data")


class SmallDisk:
    """A file system of its own whose size can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, size: str) -> None:
        """Mount it, with that size."""
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", self.folder]
        if subprocess.run(command, check=False).returncode != 0:
            pytest.skip("only root can mount a small disk, and not in every container")

    def resize(self, size: str) -> None:
        """Give it another size."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    if disk.folder.is_mount():
        subprocess.run(["umount", "--lazy", disk.folder], check=True)


@pytest.mark.parametrize("mode", [(), ("--shards", "1/1")], ids=["ray", "array"])
def test_a_full_disk_ends_the_run_in_one_line_and_with_room_it_goes_on(
    mode: tuple[str, ...], disk: SmallDisk, job_file: Path, undisturbed: dict[str, bytes]
) -> None:
    disk.mount("1m")
    folder = disk.folder / "data"
    line = f"{folder}: No space left on device; free some space there, then run the same command again to resume\n"
    for _ in range(2):
        with started(job_file, folder, *mode) as run:
            assert run.ended() == (1, line)
        check_whole(folder, undisturbed, writers=0)
        assert not list(folder.glob("failed-*"))
    assert 0 < len(list(folder.glob("shard-*.nc"))) < 30
    disk.resize("8m")
    finished(job_file, folder, *mode)
    check_finished(folder, undisturbed)


def test_a_full_disk_under_a_sweep_charges_no_trial_and_with_room_it_goes_on(disk: SmallDisk, tmp_path: Path) -> None:
    data = datasets.make(datasets.labyrinths(16, 32, splits={"test": 0, "validation": 4}), tmp_path / "data")
    training = {"epochs": 4, "batch_size": 4}
    base = {"kind": "train-sr", "dataset": str(data), "network": {"scale": 4}, "training": training}
    swept = build(Tune, {"base": base, "space": {"training.learning_rate": [0.01, 0.003, 0.001]}}, "")
    undisturbed = table_of(swept, tmp_path / "undisturbed")
    job_file = tmp_path / "sweep.toml"
    job_file.write_text(job.to_toml(swept))
    disk.mount("2500k")
    folder = disk.folder / "run"
    with started(job_file, folder) as run:
        code, said = run.ended()
    assert (code, said.count("\n")) == (1, 1), said
    assert "No space left on device; free some space there, then run the same command again to resume" in said
    assert not [entry for entry in Ledger(folder).trials.values() if entry.error]
    disk.resize("100m")
    finished(job_file, folder)
    assert (folder / "trials.csv").read_bytes() == undisturbed


@pytest.mark.parametrize("stop_after", [200, 30])
def test_a_clock_that_leaps_changes_nothing(interpose: Path, tmp_path: Path, stop_after: int) -> None:
    """A year back and ahead again each second, in Ray's processes too; with a deadline that must not come, or must.

    From the first shard on: Ray's own start may wait for ever if clocks leap.
    """
    samples = {200: 60, 30: 40000}[stop_after]
    (tmp_path / "job.toml").write_text(LONGER.replace("samples = 60", f"samples = {samples}"))
    folder, leap = tmp_path / "data", tmp_path / "leap"
    leaping = {"LD_PRELOAD": str(interpose), "WALL_CLOCK_JUMPS": str(leap)}
    with started(tmp_path / "job.toml", folder, "--stop-after", stop_after, **leaping) as run:
        run.wait_for(lambda: list(folder.glob("shard-*.nc")))
        leap.touch()
        code, said = run.ended()
    assert code == {200: 0, 30: 75}[stop_after], said
    if stop_after == 200:
        finished(tmp_path / "job.toml", tmp_path / "peace", "--shards", "1/1")
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
    finished(job_file, tmp_path / "data", "--shards", "1/1", **other)
    check_finished(tmp_path / "data", undisturbed)
