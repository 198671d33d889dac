"""What lies about where a command is started is none of its business: files that shadow modules, a bad TMPDIR."""

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
    """Where a user keeps scripts with unlucky names, one of them a package, beside a job."""
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


def test_a_run_needs_no_home_no_tmpdir_and_nothing_of_its_working_folder(folder: Path) -> None:
    """A home that can't be written, and a folder for temporary files that is too long for a Unix socket."""
    long = folder / ("x" * 100)
    long.mkdir()
    homeless = {"HOME": "/dev/null", "TMPDIR": str(long), "RAY_TMPDIR": str(long)}
    code, shown, said = run_in(folder, "run", "job.toml", **homeless)
    assert (code, said) == (0, "")
    assert "4 of 16 x 16" in shown
    assert list(long.iterdir()) == []


def test_processes_without_ray_import_nothing_of_the_working_folder(folder: Path) -> None:
    code, shown, said = run_in(folder, "run", "job.toml", "--shards", "1/1", HOME="/dev/null")
    assert (code, said) == (0, "")
    assert "4 of 16 x 16" in shown


def test_a_submitted_job_imports_nothing_of_the_working_folder(folder: Path) -> None:
    code, shown, said = run_in(folder, "submit", "job.toml", "--cluster", "local", "--wait")
    assert code == 0, shown + said
    assert "4 of 16 x 16" in shown


def test_a_ray_that_refuses_to_start_is_quoted_and_its_logs_are_kept(folder: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    try:
        code, _, said = run_in(folder, "run", "job.toml", RAY_ROTATION_MAX_BYTES="many", TMPDIR=str(scratch))
        (kept,) = scratch.glob("rayspin-ray-*")
        why = "invalid literal for int() with base 10: 'many'"
        assert (code, said) == (1, f"Ray on this machine: did not start (ValueError: {why}); see its logs in {kept}\n")
        assert why in (kept / "ray.log").read_text()
        assert not list(scratch.glob("rs-*"))
    finally:
        shutil.rmtree(scratch)
