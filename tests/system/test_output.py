"""Commands whose output goes to a full disk, to a reader that leaves, or nowhere."""

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


def ended(folder: Path, *arguments: str, to: Path = FULL) -> tuple[int, str]:
    """Exit code and standard error of a command whose output goes to a device."""
    with to.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "rayspin", *arguments],
            cwd=folder, stdout=stream, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    return done.returncode, done.stderr


def unread(folder: Path, *arguments: str) -> tuple[int, str]:
    """The same of one whose reader has left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rayspin", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    return process.wait(), said


@pytest.mark.parametrize("arguments", [("check", "job.toml"), ("schema",), ("--help",), ("run", "--help")])
def test_a_command_whose_output_is_its_purpose_ends_with_one_line_on_a_full_disk(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    assert ended(folder, *arguments) == (1, LINE)


def test_a_run_goes_on_on_a_full_disk_and_one_that_has_ended_does_so_again(folder: Path) -> None:
    run = ("run", "job.toml", "--out", "data", "--shards", "1/1")
    for _ in range(2):
        assert ended(folder, *run) == (0, "")
        assert json.loads((folder / "data" / "summary.json").read_text())["figures"]["samples"] == "12 of 16 x 16"
    assert ended(folder, "verify", "data") == (1, LINE)
    assert ended(folder, "status", "data") == (1, LINE)


def test_a_run_goes_on_once_nobody_reads_its_progress(folder: Path) -> None:
    assert unread(folder, "run", "job.toml", "--out", "data", "--shards", "1/1") == (0, "")
    assert len(list((folder / "data").glob("shard-*.nc"))) == 12


def test_a_long_output_whose_reader_has_left_ends_like_those_of_other_tools(folder: Path) -> None:
    assert unread(folder, "schema") == (-signal.SIGPIPE, "")


def test_without_an_output_all_is_as_ever(folder: Path) -> None:
    command = [sys.executable, "-m", "rayspin", "check", "job.toml"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], cwd=folder, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_that_nobody_can_read_keeps_its_exit_code(folder: Path) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rayspin", "check", "nowhere.toml"], cwd=folder, stderr=full, check=False
        )
    assert done.returncode == 2


def test_what_the_encoding_of_the_output_lacks_is_written_as_escapes(folder: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "rayspin", "run", "job.toml", "--out", "größe", "--shards", "1/1"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert r"gr\xf6\xdfe" in done.stdout
