"""A small dataset, and checks of its folder for interrupted and finished runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rayspin.storage import Catalog

JOB = """\
kind = "generate"
samples = 3
size = 8
seed = 5
shard_samples = 2
hamiltonian = "labyrinth"
schedule = { sweeps = 20, quench_sweeps = 20 }
splits = { test = 1, validation = 1 }
"""
"""A job of two shards, the last one smaller, that takes less than a second."""

VOLATILE = re.compile(r"ledger.*\.jsonl|summary\.json|README\.md|.*\.png")
"""Files that contain host names, times or paths and so may differ between two runs."""


def visible_files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files that are not hidden, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def reproducible_files(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files that every run of a job must write with the same bytes."""
    return {name: content for name, content in files.items() if not VOLATILE.fullmatch(name)}


def check_complete(folder: Path, undisturbed: dict[str, bytes], writers: int) -> None:
    """Assert that all visible files of an interrupted run are complete.

    Args:
        folder: folder of the run, which need not exist.
        undisturbed: the visible files of an undisturbed run of the same job.
        writers: number of processes that wrote shards at the same time, and so the most temporary files of shards.
    """
    files = visible_files(folder)
    assert reproducible_files(files).items() <= reproducible_files(undisturbed).items(), (
        "a file is half-written, or should not be there"
    )
    assert len(list(folder.glob(".tmp-*shard*"))) <= writers
    for name, content in files.items():
        if name.endswith(".jsonl"):
            *lines, _partial = content.split(b"\n")
            recorded = {json.loads(line).get("file") for line in lines if line} - {None}
            assert recorded <= files.keys(), "a ledger contains a missing shard"
        if name == "summary.json":
            json.loads(content)
        if name.endswith(".png"):
            assert content.endswith(b"IEND\xaeB`\x82")
    # The same holds for the records that readers see.
    assert all(record.file in files for record in Catalog.read(folder).records)


def check_finished(folder: Path, undisturbed: dict[str, bytes]) -> None:
    """Assert that the folder of a finished run contains the files of an undisturbed run and nothing else."""
    files = visible_files(folder)
    assert reproducible_files(files) == reproducible_files(undisturbed)
    assert not list(folder.glob(".tmp-*")), "a temporary file remains"
    assert not list(folder.glob("failed-*")), "a failure of a shard was recorded"
    records = Catalog.read(folder).records
    assert sum(record.count for record in records) == sum(record.count for record in Catalog.entered(folder).records)
    assert {record.file for record in records} == {name for name in files if name.endswith(".nc")}


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and modification time of each shard; both stay the same unless the shard is written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("shard-*.nc")}
