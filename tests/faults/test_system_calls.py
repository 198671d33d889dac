"""Faults at each system call of a generation, incomplete ledger lines, file size limits and permissions."""

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
from tests.support.folders import JOB, check_finished, visible_files
from tests.support.repository import REPOSITORY
from tests.support.runs import LONG_S
from tests.support.soak import FULL

SOME = 1 if FULL else 5
"""Faults are injected at every `SOME`-th system call."""


def run_with_faults(interpose: Path, folder: Path, mode: str, stride: int) -> int:
    """Run a job repeatedly with one fault per run (see tests/support/steps.py), and return the number of faults."""
    command = [sys.executable, "-m", "tests.support.steps", str(folder), mode, str(stride)]
    preloaded = os.environ | {"LD_PRELOAD": str(interpose)}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=preloaded, capture_output=True, text=True, check=False, timeout=LONG_S
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_crash_at_any_system_call_keeps_completed_files(interpose: Path, tmp_path: Path) -> None:
    """The process is killed before each call that changes the folder."""
    # A run writes two shards with about fifty calls each, and some other files.
    assert run_with_faults(interpose, tmp_path, "kill", SOME) > 100 / SOME


def test_crash_during_a_write_leaves_no_partial_file(interpose: Path, tmp_path: Path) -> None:
    assert run_with_faults(interpose, tmp_path, "half", 1) >= 6


def test_recorded_files_are_synced_to_disk(interpose: Path, tmp_path: Path) -> None:
    """Files are synced before they are renamed, and the folder before a shard is recorded in the ledger."""
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
    renamed_shards: set[str] = set()
    durable: set[str] = set()
    renames = recorded = 0
    for name, path in calls:
        file = Path(path)
        if name.startswith(("write", "pwrite")):
            if file.name.startswith("ledger"):
                # Each shard has one ledger entry, written after the shard is on disk.
                assert recorded < len(durable)
                recorded += 1
            unsynced.add(file.name)
        elif name == "fsync":
            unsynced.discard(file.name)
            if file.name == "run":
                durable |= renamed_shards
        elif name == "rename":
            assert not any(other.startswith(".tmp-") and other.endswith(file.name) for other in unsynced), path
            unsynced.add("run")
            renamed_shards |= {file.name} if file.name.startswith("shard-") else set()
            renames += 1
    # The notes about the holder of a lock and the maker of a shard are information only and need no sync.
    assert {name for name in unsynced if not name.startswith((".holder", ".tmp-making-"))} == set()
    assert renames >= 4
    assert recorded >= 2


@pytest.mark.parametrize("mode", ["full", "broken"])
def test_disk_error_at_any_call_is_a_one_line_error(interpose: Path, tmp_path: Path, mode: str) -> None:
    assert run_with_faults(interpose, tmp_path, mode, SOME) > 100 / SOME


def test_file_size_limit_is_a_one_line_error(tmp_path: Path) -> None:
    done = failed_run(tmp_path, "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, -1))")
    assert (
        done == f"{tmp_path / 'run'}: File too large; raise the file size limit (ulimit -f), then run the same"
        " command again to resume\n"
    )
    assert set(visible_files(tmp_path / "run")) == {"job.toml"}


@pytest.fixture
def readable_folder() -> Iterator[Path]:
    """A folder that other users can read, unlike the temporary folders of pytest."""
    with tempfile.TemporaryDirectory(prefix="rayspin-") as folder:
        yield Path(folder)


def test_read_only_folder_is_a_one_line_error_and_verifiable(readable_folder: Path) -> None:
    folder = readable_folder / "run"
    run_undisturbed(readable_folder)
    (folder / "summary.json").unlink()
    for path in (folder, readable_folder):
        path.chmod(0o555)
    # Permissions do not restrict root.
    as_another = "os.setuid(65534)" if os.getuid() == 0 else "pass"
    remedy = "Permission denied; give a writable folder with --out\n"
    assert failed_run(readable_folder, as_another) == f"{folder}: {remedy}"
    assert failed_run(readable_folder, as_another, folder="new") == f"{readable_folder / 'new'}: {remedy}"
    read = run_cli(readable_folder, as_another, "verify", str(folder))
    assert (read.returncode, read.stderr) == (0, "")
    (folder / "job.toml").chmod(0o000)
    hidden = run_cli(readable_folder, as_another, "run", "job.toml", "--out", str(folder))
    assert (hidden.returncode, hidden.stderr.count("\n")) == (2, 1), hidden.stderr
    folder.chmod(0o755)
    readable_folder.chmod(0o755)


def run_undisturbed(base: Path) -> dict[str, bytes]:
    done = run_cli(base, "pass", "run", "job.toml", "--out", str(base / "run"))
    assert done.returncode == 0, done.stderr
    return visible_files(base / "run")


def failed_run(base: Path, before: str, folder: str = "run") -> str:
    """Run the job, assert that it exits with code 1, and return its standard error."""
    done = run_cli(base, before, "run", "job.toml", "--out", str(base / folder))
    assert done.returncode == 1, done.stderr
    return done.stderr


def run_cli(base: Path, before: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line and generate shards in its process; `before` runs after imports and compilation."""
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


def test_incomplete_last_ledger_line_is_ignored(tmp_path: Path) -> None:
    undisturbed = run_undisturbed(tmp_path)
    ledger = tmp_path / "run" / "ledger.jsonl"
    complete = ledger.read_bytes()
    *first, last = Catalog.entered(tmp_path / "run").records
    *_, entry = entries(tmp_path / "run")
    start = complete.rindex(b"\n", 0, -1) + 1
    rng = np.random.default_rng(0)
    for cut in range(start, len(complete)):
        for tail in (b"", b"\0" * 40, rng.bytes(40)):
            # After a power failure the rest of the line may contain zeros or bytes of another file.
            ledger.write_bytes(complete[:cut] + tail)
            records = Catalog.entered(tmp_path / "run").records
            # A line without its newline character is complete.
            assert records == ((*first, last) if cut == len(complete) - 1 and not tail else tuple(first))
        ledger.write_bytes(complete[:cut])
        append(ledger, entry)
        assert Catalog.entered(tmp_path / "run").records == (*first, last)
    ledger.write_bytes(complete[: start + 50])
    (tmp_path / "run" / "summary.json").unlink()
    run_undisturbed(tmp_path)
    check_finished(tmp_path / "run", undisturbed)


def test_failed_append_to_a_ledger_is_a_machine_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="No such file or directory; check the file system"):
        append(tmp_path / "gone" / "ledger.jsonl", {"file": "shard-00000000.nc"})
