"""Explain a shard: its samples, seeds, state and traceback, and the commands that reproduce its failure locally."""

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
from rayspin.progress import counted
from rayspin.storage import Catalog, ledger, shard_name


@dataclass(frozen=True)
class Explanation:
    """Information on one shard.

    Attributes:
        job: job of the dataset.
        shard: (first sample, number of samples).
        rows: table to print.
        trace: traceback of its last failure; empty if it has not failed.
        commands: shell commands that generate in one process without Ray (0) the whole shard and (1) the sample that
            failed, or the first one.
    """

    job: Generate
    shard: Shard
    rows: dict[str, str]
    trace: str
    commands: tuple[str, str]


def explain(folder: Path, shard: str) -> Explanation:
    """Collect the information on a shard from the files of its dataset.

    Args:
        folder: folder of the dataset, finished or not.
        shard: index of the shard as in `--shards`, or the name of its file or of its failure file.

    Raises:
        InputError: the folder has no dataset, or the dataset no such shard.
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
    """Return the shell command that generates one sample in a new process, without Ray."""
    code = f"from rayspin.jobs.generate.job import Generate; print(Generate.of({str(folder)!r}).sample({sample}))"
    # Quotes inside of double quotes are easier to read than what `shlex.quote` makes of them.
    quoted = shlex.quote(code) if re.search(r'["$`\\!]', code) else f'"{code}"'
    return f"python -c {quoted}"


def repeat(explanation: Explanation, folder: Path, tell: Callable[[str], None]) -> None:
    """Generate the samples of a shard again in this process and compare them with the stored ones. Nothing is written.

    An exception in a sample propagates unchanged.

    Args:
        explanation: explanation of the shard.
        folder: folder of the dataset.
        tell: called with one line of text for each sample.

    Raises:
        RunError: a sample differs from the stored one.
    """
    job, (first, count) = explanation.job, explanation.shard
    records = [record for record in Catalog.read(folder).records if record.first_sample == first]
    stored = Catalog(folder, tuple(records)).reader() if records else None
    different = []
    for sample in range(first, first + count):
        spins_YXC, energy = job.sample(sample)
        line = f"sample {sample}: {energy:.6f} J per site"
        if stored is not None and sample - first < len(stored):
            same = np.array_equal(spins_YXC, stored.read([sample - first])[0])
            line += ", equal to the stored sample" if same else ", DIFFERS from the stored sample"
            if not same:
                different.append(sample)
        tell(line)
    if different:
        problem = f"{len(different)} of {count} samples differ from the stored ones, the first is sample {different[0]}"
        raise RunError(str(folder), problem, "compare the package versions with the attribute `versions` of the shard")


def _find(job: Generate, folder: Path, shard: str) -> Shard:
    shards = job.shards()
    # If the dataset was extended, existing shards may have other boundaries than those of the present job.
    existing = [(record.first_sample, record.count) for record in Catalog.entered(folder).records]
    by_name = {
        name(first): (first, count) for first, count in (*shards, *existing) for name in (shard_name, failure_file)
    }
    if shard.isdecimal() and int(shard) < len(shards):
        return by_name[shard_name(shards[int(shard)][0])]
    if Path(shard).name in by_name:
        return by_name[Path(shard).name]
    problem = f"the job has {counted(len(shards), 'shard')} and none is {shard!r}"
    remedy = f"give 0 to {len(shards) - 1} or a file name; {suggestion(Path(shard).name, [shard_name(shards[0][0])])}"
    raise InputError(str(folder), problem, remedy)


def _state(folder: Path, first: int, *, failed: bool) -> str:
    entry = next((entry for entry in reversed(list(ledger.entries(folder))) if entry["first_sample"] == first), None)
    if entry is None:
        return "failed; not generated yet" if failed else "not generated yet"
    where = f"generated on {entry['host']} in {entry['seconds']:g} s" if "host" in entry else entry.get("note", "")
    return f"recorded {entry['entered']}, {where}; digest {entry['sha256'][:16]}"


def failures(folder: Path) -> dict[str, str]:
    """Return the error of each failed shard by the name of its failure file."""
    found = {}
    for path in sorted(folder.glob(FAILURES)):
        # The last two lines are the error and the note that names the sample.
        found[path.name] = " ".join(read_text(path, limit=RECORD_BYTES).strip().splitlines()[-2:])
    return found
