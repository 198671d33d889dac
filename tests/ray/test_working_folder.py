"""Commands in a working folder whose files shadow modules, and with unusable HOME and TMPDIR."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import pytest

RAYSPIN = Path(sysconfig.get_path("scripts")) / "rayspin"

JOB = """\
kind = "generate"
samples = 4
size = 16
shard_samples = 1
hamiltonian = "labyrinth"
schedule = { sweeps = 10, quench_sweeps = 10 }
"""

SHADOWED = ("json", "logging", "profile", "queue", "random", "signal", "socket", "statistics", "types")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a job file, and with scripts and a package that have the names of modules."""
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported ' + __file__)")
    (tmp_path / "rayspin").mkdir()
    (tmp_path / "rayspin" / "__init__.py").write_text("raise SystemExit('imported ' + __file__)")
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


def run_in(folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHON"))}
    done = subprocess.run(
        [RAYSPIN, *arguments],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    return done.returncode, done.stdout, done.stderr


def test_run_needs_no_home_no_tmpdir_and_no_files_of_its_working_folder(folder: Path) -> None:
    """HOME is not writable, and the path TMPDIR is too long for a Unix socket."""
    long = folder / ("x" * 100)
    long.mkdir()
    variables = {"HOME": "/dev/null", "TMPDIR": str(long), "RAY_TMPDIR": str(long)}
    code, stdout, stderr = run_in(folder, "run", "job.toml", **variables)
    assert (code, stderr) == (0, "")
    assert "4 of 16 x 16" in stdout
    assert list(long.iterdir()) == []


def test_run_without_ray_imports_no_module_of_the_working_folder(folder: Path) -> None:
    code, stdout, stderr = run_in(folder, "run", "job.toml", "--shards", "1/1", HOME="/dev/null")
    assert (code, stderr) == (0, "")
    assert "4 of 16 x 16" in stdout


def test_submitted_job_imports_no_module_of_the_working_folder(folder: Path) -> None:
    code, stdout, stderr = run_in(folder, "submit", "job.toml", "--cluster", "local", "--wait")
    assert code == 0, stdout + stderr
    assert "4 of 16 x 16" in stdout


def test_error_at_the_start_of_ray_is_reported_and_its_logs_are_kept(folder: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    try:
        code, _, stderr = run_in(folder, "run", "job.toml", RAY_ROTATION_MAX_BYTES="many", TMPDIR=str(scratch))
        (kept,) = scratch.glob("rayspin-ray-*")
        reason = "invalid literal for int() with base 10: 'many'"
        assert (code, stderr) == (
            1,
            f"Ray on this machine: did not start (ValueError: {reason}); see its logs in {kept}\n",
        )
        assert reason in (kept / "ray.log").read_text()
        assert not list(scratch.glob("rs-*"))
    finally:
        shutil.rmtree(scratch)
