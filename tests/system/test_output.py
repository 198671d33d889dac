"""Commands whose standard output is a full disk, a closed pipe or a closed descriptor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

JOB = (
    'kind = "generate"\nsamples = 12\nsize = 16\nshard_samples = 1\nhamiltonian = "labyrinth"\n'
    "schedule = { sweeps = 5, quench_sweeps = 5 }\n"
)
FULL = Path("/dev/full")
LINE = "standard output: No space left on device; redirect it to a file that can be written\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


def run_on_full_disk(folder: Path, *arguments: str, to: Path = FULL) -> tuple[int, str]:
    """Run a command with a device as its output, and return its exit code and standard error."""
    with to.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "rayspin", *arguments],
            cwd=folder, stdout=stream, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    return done.returncode, done.stderr


def run_with_closed_pipe(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command with a closed pipe as its output, and return its exit code and standard error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rayspin", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    stderr = process.stderr.read().decode()
    process.stderr.close()
    return process.wait(), stderr


@pytest.mark.parametrize("arguments", [("check", "job.toml"), ("schema",), ("--help",), ("run", "--help")])
def test_command_that_prints_results_fails_in_one_line_on_a_full_disk(folder: Path, arguments: tuple[str, ...]) -> None:
    assert run_on_full_disk(folder, *arguments) == (1, LINE)


def test_run_succeeds_although_its_output_is_a_full_disk(folder: Path) -> None:
    run = ("run", "job.toml", "--out", "data", "--shards", "1/1")
    for _ in range(2):
        assert run_on_full_disk(folder, *run) == (0, "")
        assert json.loads((folder / "data" / "summary.json").read_text())["figures"]["samples"] == "12 of 16 x 16"
    assert run_on_full_disk(folder, "verify", "data") == (1, LINE)
    assert run_on_full_disk(folder, "status", "data") == (1, LINE)


def test_run_succeeds_although_its_output_is_a_closed_pipe(folder: Path) -> None:
    assert run_with_closed_pipe(folder, "run", "job.toml", "--out", "data", "--shards", "1/1") == (0, "")
    assert len(list((folder / "data").glob("shard-*.nc"))) == 12


def test_long_output_to_a_closed_pipe_ends_with_sigpipe(folder: Path) -> None:
    assert run_with_closed_pipe(folder, "schema") == (-signal.SIGPIPE, "")


def test_command_succeeds_with_a_closed_standard_output(folder: Path) -> None:
    command = [sys.executable, "-m", "rayspin", "check", "job.toml"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], cwd=folder, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_exit_code_is_kept_if_the_error_message_cannot_be_written(folder: Path) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rayspin", "check", "nowhere.toml"], cwd=folder, stderr=full, check=False
        )
    assert done.returncode == 2


def test_characters_outside_the_output_encoding_are_escaped(folder: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "rayspin", "run", "job.toml", "--out", "größe", "--shards", "1/1"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert r"gr\xf6\xdfe" in done.stdout
