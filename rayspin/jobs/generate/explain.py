"""Why a shard failed, and how to see it fail here: its samples, seeds and traceback, and the line that repeats it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rayspin.config import suggestion
from rayspin.errors import InputError, RunError
from rayspin.inputs import RECORD_BYTES, read_text
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.recipe import Shard
from rayspin.jobs.generate.recorder import FAILURES, failure_file
from rayspin.paths import command
from rayspin.storage import Catalog, ledger, shard_name


@dataclass(frozen=True)
class Explanation:
    """What is known of a shard.

    Attributes:
        shard: (first sample, count).
        rows: for people.
        trace: the traceback that its last failure left; empty if it did not fail.
        commands: that repeat it in one process without Ray: the whole shard, and the sample that failed (or the first).
    """

    job: Generate
    shard: Shard
    rows: dict[str, str]
    trace: str
    commands: tuple[str, str]


def explain(folder: Path, shard: str) -> Explanation:
    """What a dataset's files tell of a shard.

    Args:
        folder: the dataset's, finished or not.
        shard: its number among the shards of the job, as `--shards` counts them; or the name of its file, or of the
            file that its failure left.

    Raises:
        InputError: no dataset, or no such shard.
    """
    job = Generate.of(folder)
    found = _find(job, folder, shard)
    first, count = found
    failed = folder / failure_file(first)
    trace = read_text(failed, limit=RECORD_BYTES) if failed.exists() else ""
    at = re.search(r"in sample (\d+)", trace)
    suspect = int(at[1]) if at else first
    rows = {
        "shard": f"{first // job.shard_samples} ({shard_name(first)})",
        "samples": f"{first} to {first + count - 1}",
        "seeds": f"({job.seed}, {first}) to ({job.seed}, {first + count - 1})",
        "state": _state(folder, first, failed=bool(trace)),
    }
    if len(job.points) > 1:
        rows["points"] = ", ".join(str(sample % len(job.points)) for sample in range(first, first + count))
    if at:
        rows["failed in"] = f"sample {suspect}, seed ({job.seed}, {suspect})"
    again = command("explain", folder, str(first // job.shard_samples), "--run")
    return Explanation(job, found, rows, trace, (again, one_line(folder, suspect)))


def one_line(folder: Path, sample: int) -> str:
    """The shell command that makes one sample in its own process, without Ray."""
    code = f"from rayspin.jobs.generate.job import Generate; print(Generate.of({str(folder)!r}).sample({sample}))"
    return f"python -c {shlex.quote(code)}"


def repeat(explanation: Explanation, folder: Path, tell: Callable[[str], None]) -> None:
    """Make the shard's samples again in this process, one after another, and write nothing; its own error comes out.

    Args:
        explanation: of the shard.
        folder: the dataset's.
        tell: is given a line for each sample.

    Raises:
        RunError: the samples come out otherwise than they are stored.
    """
    job, (first, count) = explanation.job, explanation.shard
    records = [record for record in Catalog.read(folder).records if record.first_sample == first]
    stored = Catalog(folder, tuple(records)).reader() if records else None
    other = []
    for sample in range(first, first + count):
        spins_YXC, energy = job.sample(sample)
        said = f"sample {sample}: {energy:.6f} J per site"
        if stored is not None and sample - first < len(stored):
            same = np.array_equal(spins_YXC, stored.read([sample - first])[0])
            said += ", as stored" if same else ", NOT as stored"
            if not same:
                other.append(sample)
        tell(said)
    if other:
        problem = f"sample {other[0]} comes out otherwise than it is stored ({len(other)} of {count} do)"
        raise RunError(str(folder), problem, "see whether the package versions are those that the shard names")


def _find(job: Generate, folder: Path, shard: str) -> Shard:
    shards = job.shards()
    # Of a dataset that was extended, the shards that are there may be cut in another way.
    there = [(record.first_sample, record.count) for record in Catalog.entered(folder).records]
    by_name = {name(first): (first, count) for first, count in (*shards, *there) for name in (shard_name, failure_file)}
    if shard.isdecimal() and int(shard) < len(shards):
        return by_name[shard_name(shards[int(shard)][0])]
    if Path(shard).name in by_name:
        return by_name[Path(shard).name]
    problem = f"the job has {len(shards)} shards and no {shard!r}"
    remedy = f"give 0 to {len(shards) - 1}, or a file; {suggestion(Path(shard).name, [shard_name(shards[0][0])])}"
    raise InputError(str(folder), problem, remedy)


def _state(folder: Path, first: int, *, failed: bool) -> str:
    entry = next((entry for entry in reversed(list(ledger.entries(folder))) if entry["first_sample"] == first), None)
    if entry is None:
        return "failed, and is set aside" if failed else "not made yet"
    where = f"on {entry['host']} in {entry['seconds']:g} s" if "host" in entry else entry.get("note", "")
    return f"in place since {entry['entered']}, made {where}; digest {entry['sha256'][:16]}"


def failures(folder: Path) -> dict[str, str]:
    """The error of each failed shard, by the name of the file that it left."""
    found = {}
    for path in sorted(folder.glob(FAILURES)):
        # The error, and the note of the sample that it came up in.
        found[path.name] = " ".join(read_text(path, limit=RECORD_BYTES).strip().splitlines()[-2:])
    return found
