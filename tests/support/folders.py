"""A small dataset, and what its folder may look like at any moment and at the end."""

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
"""Two shards, the last one smaller; less than a second of work."""

VOLATILE = re.compile(r"ledger.*\.jsonl|summary\.json|README\.md|.*\.png")
"""Files that name hosts, times and folders: they may differ between two runs, but are whole as the others."""


def visible(folder: Path) -> dict[str, bytes]:
    """The files that a user sees, with their bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def fixed(files: dict[str, bytes]) -> dict[str, bytes]:
    """Those that every run of a job must write with the same bytes."""
    return {name: content for name, content in files.items() if not VOLATILE.fullmatch(name)}


def check_whole(folder: Path, undisturbed: dict[str, bytes], writers: int) -> None:
    """The folder of a run that was stopped anywhere: all that is seen in it is whole.

    Args:
        folder: of the run; it need not exist.
        undisturbed: the visible files of a run of the same job that nothing happened to.
        writers: how many processes wrote shards at once: more unfinished ones there can't be.
    """
    files = visible(folder)
    assert fixed(files).items() <= fixed(undisturbed).items(), "a file is half-written, or should not be there"
    assert len(list(folder.glob(".tmp-*shard*"))) <= writers
    for name, content in files.items():
        if name.endswith(".jsonl"):
            *lines, _torn = content.split(b"\n")
            told = {json.loads(line).get("file") for line in lines if line} - {None}
            assert told <= files.keys(), "a ledger tells of a missing shard"
        if name == "summary.json":
            json.loads(content)
        if name.endswith(".png"):
            assert content.endswith(b"IEND\xaeB`\x82")
    # What readers make of it.
    assert all(record.file in files for record in Catalog.read(folder).records)


def check_finished(folder: Path, undisturbed: dict[str, bytes]) -> None:
    """The folder of a run that ended after whatever happened: the undisturbed files, and nothing else."""
    files = visible(folder)
    assert fixed(files) == fixed(undisturbed)
    assert not list(folder.glob(".tmp-*")), "the sweep left something"
    assert not list(folder.glob("failed-*")), "a shard was charged"
    records = Catalog.read(folder).records
    assert sum(record.count for record in records) == sum(record.count for record in Catalog.entered(folder).records)
    assert {record.file for record in records} == {name for name in files if name.endswith(".nc")}


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    """Identity and time of the shards in place: what is not made again keeps them."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("shard-*.nc")}
