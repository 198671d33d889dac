"""A crash, a full disk and an I/O error at every step of making a dataset; torn ledgers; limits and rights."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rayspin.errors import MachineError
from rayspin.storage import Catalog
from rayspin.storage.ledger import append, entries
from tests.support.folders import JOB, check_finished, visible
from tests.support.repository import REPOSITORY
from tests.support.runs import LONG_S
from tests.support.soak import FULL

SOME = 1 if FULL else 5
"""A fault at each system call, or at every fifth one."""


def disturbed(interpose: Path, folder: Path, mode: str, stride: int) -> int:
    """How many faults a job was made to survive, one a run; see tests/support/steps.py, which checks it after each."""
    command = [sys.executable, "-m", "tests.support.steps", str(folder), mode, str(stride)]
    preloaded = os.environ | {"LD_PRELOAD": str(interpose)}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=preloaded, capture_output=True, text=True, check=False, timeout=LONG_S
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_crash_at_any_system_call_loses_nothing_that_was_whole(interpose: Path, tmp_path: Path) -> None:
    """Killed before each call that changes the folder; before one is after the one before."""
    # Two shards of some fifty calls, and what goes around them.
    assert disturbed(interpose, tmp_path, "kill", SOME) > 100 / SOME


def test_a_crash_in_the_middle_of_a_write_leaves_no_half_file(interpose: Path, tmp_path: Path) -> None:
    assert disturbed(interpose, tmp_path, "half", 1) >= 6


def test_what_is_said_to_be_done_is_on_disk(interpose: Path, tmp_path: Path) -> None:
    """A power failure takes what was not synced: a file before it is renamed, the folder before it is counted on."""
    (tmp_path / "job.toml").write_text(JOB)
    folder, history = tmp_path / "run", tmp_path / "history"
    command = [
        sys.executable,
        "-m",
        "rayspin",
        "run",
        str(tmp_path / "job.toml"),
        "--out",
        str(folder),
        "--shards",
        "1/1",
    ]
    watched = {"LD_PRELOAD": str(interpose), "WRITE_HISTORY": str(history), "WRITE_HISTORY_BELOW": str(folder)}
    subprocess.run(command, env=os.environ | watched, check=True, capture_output=True, timeout=120)
    calls = [line.split() for line in history.read_text().splitlines()]
    unsynced: set[str] = set()
    in_place: set[str] = set()
    durable: set[str] = set()
    renamed = entered = 0
    for name, path in calls:
        file = Path(path)
        if name.startswith(("write", "pwrite")):
            if file.name.startswith("ledger"):
                # Of each shard one entry; another process may be in the middle of the next one.
                assert entered < len(durable)
                entered += 1
            unsynced.add(file.name)
        elif name == "fsync":
            unsynced.discard(file.name)
            if file.name == "run":
                durable |= in_place
        elif name == "rename":
            assert not any(other.startswith(".tmp-") and other.endswith(file.name) for other in unsynced), path
            unsynced.add("run")
            in_place |= {file.name} if file.name.startswith("shard-") else set()
            renamed += 1
    # The notes of holders and makers are for people; all else is on disk.
    assert {name for name in unsynced if not name.startswith((".holder", ".tmp-making-"))} == set()
    assert renamed >= 4
    assert entered >= 2


@pytest.mark.parametrize("mode", ["full", "broken"])
def test_a_disk_that_fails_at_any_moment_is_one_line(interpose: Path, tmp_path: Path, mode: str) -> None:
    assert disturbed(interpose, tmp_path, mode, SOME) > 100 / SOME


def test_a_limit_of_file_sizes_is_one_line(tmp_path: Path) -> None:
    done = refused(tmp_path, "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, -1))")
    assert (
        done == f"{tmp_path / 'run'}: File too large; raise the file size limit (ulimit -f), then run the same"
        " command again to resume\n"
    )
    assert set(visible(tmp_path / "run")) == {"job.toml"}


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that another user may look into, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="rayspin-") as folder:
        yield Path(folder)


def test_a_folder_that_cannot_be_written_is_one_line_and_can_be_read(public: Path) -> None:
    folder = public / "run"
    run_in_peace(public)
    (folder / "summary.json").unlink()
    for path in (folder, public):
        path.chmod(0o555)
    # Rights don't bind root.
    as_another = "os.setuid(65534)" if os.getuid() == 0 else "pass"
    remedy = "Permission denied; give a writable folder with --out\n"
    assert refused(public, as_another) == f"{folder}: {remedy}"
    assert refused(public, as_another, folder="new") == f"{public / 'new'}: {remedy}"
    read = in_process(public, as_another, "verify", str(folder))
    assert (read.returncode, read.stderr) == (0, "")
    (folder / "job.toml").chmod(0o000)
    hidden = in_process(public, as_another, "run", "job.toml", "--out", str(folder))
    assert (hidden.returncode, hidden.stderr.count("\n")) == (2, 1), hidden.stderr
    folder.chmod(0o755)
    public.chmod(0o755)


def run_in_peace(base: Path) -> dict[str, bytes]:
    done = in_process(base, "pass", "run", "job.toml", "--out", str(base / "run"))
    assert done.returncode == 0, done.stderr
    return visible(base / "run")


def refused(base: Path, before: str, folder: str = "run") -> str:
    """What a run says that ends with code 1."""
    done = in_process(base, before, "run", "job.toml", "--out", str(base / folder))
    assert done.returncode == 1, done.stderr
    return done.stderr


def in_process(base: Path, before: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, with its shards made in its own process; `before` is done when all is imported and compiled."""
    code = f"""
import os, resource, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from tests.support import steps
steps.prepare()
{before}
steps.main(sys.argv[1:], prog_name="rayspin")
"""
    if not (base / "job.toml").exists():
        (base / "job.toml").write_text(JOB)
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=base, capture_output=True, text=True, check=False, timeout=120)


def test_a_torn_last_line_of_the_ledger_is_passed_over_wherever_it_was_torn(tmp_path: Path) -> None:
    undisturbed = run_in_peace(tmp_path)
    ledger = tmp_path / "run" / "ledger.jsonl"
    whole = ledger.read_bytes()
    *first, last = Catalog.entered(tmp_path / "run").records
    *_, entry = entries(tmp_path / "run")
    start = whole.rindex(b"\n", 0, -1) + 1
    rng = np.random.default_rng(0)
    for cut in range(start, len(whole)):
        for tail in (b"", b"\0" * 40, rng.bytes(40)):
            # A power failure can leave zeros or another file's bytes where the line should be.
            ledger.write_bytes(whole[:cut] + tail)
            there = Catalog.entered(tmp_path / "run").records
            # A line that lacks only its end is whole.
            assert there == ((*first, last) if cut == len(whole) - 1 and not tail else tuple(first))
        ledger.write_bytes(whole[:cut])
        append(ledger, entry)
        assert Catalog.entered(tmp_path / "run").records == (*first, last)
    ledger.write_bytes(whole[: start + 50])
    (tmp_path / "run" / "summary.json").unlink()
    run_in_peace(tmp_path)
    check_finished(tmp_path / "run", undisturbed)


def test_a_ledger_that_cannot_grow_says_so(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="No such file or directory; check the file system"):
        append(tmp_path / "gone" / "ledger.jsonl", {"file": "shard-00000000.nc"})
