"""Verify and repair a dataset."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from rayspin.claims import claim
from rayspin.config import build
from rayspin.errors import InputError, RunError
from rayspin.execution.dispatcher import dispatch
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import MadeShard, ShardMaker
from rayspin.jobs.generate.recipe import Shard
from rayspin.jobs.generate.recorder import Recorder, settle
from rayspin.jobs.stage import Context
from rayspin.paths import command
from rayspin.progress import Progress
from rayspin.rundir import RunDir, write_text, writing
from rayspin.storage import Catalog, Fault, ShardRecord, Verification, ledger, shard_name, verify

REPLACED = "replaced-by-repair"
"""Subfolder of a dataset for the files that repair replaces. It is removed once the repaired dataset is verified."""


def repair(folder: Path, context: Context) -> list[Fault]:
    """Restore the ledger and the `job.toml` of a dataset, regenerate its damaged shards, and return the faults found.

    A damaged `job.toml` is restored from the ledger, and missing lines of the ledger from intact shards. The values of
    a regenerated shard must have the digest in the ledger, unless the file is as recorded and its content was already
    invalid when it was written. The repaired shards are verified at the end.

    Args:
        folder: folder of the dataset.
        context: execution environment.

    Raises:
        InputError: the folder has no dataset.
        HeldError: another process uses the folder.
        RunError: a shard could not be reproduced, or faults remain; all other shards are repaired.
        Incomplete: the repair was stopped; calling it again resumes it.
    """
    job = _job_of(folder)
    with writing(folder), claim(folder):
        before = Catalog.entered(folder).records
        faults = verify_with_progress(folder, context.progress).faults
        text = ledger.job_text(folder)
        if text is not None and text != ledger.read_job(folder):
            write_text(folder / ledger.JOB, text)
    if faults:
        bad = {fault.first_sample for fault in faults if fault.count}
        sound = {record.file for record in before if record.first_sample not in bad}
        with RunDir.at(folder).claimed(job.identity()):
            _mend(folder, job, faults, context)
            _check_mended(folder, sound, context.progress)
    # Every shard has been verified, either before or after the repair.
    shutil.rmtree(folder / REPLACED, ignore_errors=True)
    return faults


def _mend(folder: Path, job: Generate, faults: list[Fault], context: Context) -> None:
    recorder = Recorder.resume(folder, job)
    catalog = Catalog.entered(folder)
    before = {record.first_sample: record for record in catalog.records}
    bad = {(fault.first_sample, fault.count): fault for fault in faults if fault.count and fault.file}
    shards = sorted({*bad, *catalog.missing(job.samples, job.shard_samples)})
    kept = _keep(folder, (shard_name(first) for first, _ in shards))
    changed: list[str] = []

    def finished(shard: Shard, made: MadeShard) -> None:
        old, name = before.get(shard[0]), made.record.file
        if old is None or bad[shard].as_written or old.values_sha256 == made.record.values_sha256:
            recorder.record(shard, made, note="repaired")
            return
        changed.append(name)
        # Neither file matches the ledger: keep the original one.
        with writing(folder):
            (folder / name).unlink()
            if name in kept:
                kept[name].rename(folder / name)

    if shards:
        recorder.tell_of_others(context.progress)
        maker = job.maker(folder)
        unfinished = dispatch(context.session, context.stop, ShardMaker, maker, shards, finished)
        done = len(shards) - len(unfinished.remaining) - len(unfinished.failed)
        settle(folder, job, unfinished, context.stop, f"{done} of {len(shards)} shards repaired")
    if changed:
        problem = f"{', '.join(changed)} could not be reproduced: the new values differ from the digests in the ledger"
        raise RunError(str(folder), problem, "install the package versions in the attribute `versions` of the shards")
    ledger.append(folder / ledger.LEDGER, *ledger.new_job(folder))


def _keep(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Link the existing files among `names` into `REPLACED`; return the paths of the links by name."""
    kept = {}
    with writing(folder):
        for name in names:
            path = folder / name
            if not os.path.lexists(path):
                continue
            (folder / REPLACED).mkdir(exist_ok=True)
            # A stopped repair may have left files of the same name.
            numbered = (folder / REPLACED / (f"{name}.{n}" if n else name) for n in itertools.count())
            kept[name] = next(place for place in numbered if not os.path.lexists(place))
            _link(path, kept[name])
    return kept


def _link(path: Path, to: Path) -> None:
    """Hard-link or copy a regular file to another path; move anything else."""
    if path.is_symlink() or not path.is_file():
        path.rename(to)
        return
    try:
        to.hardlink_to(path)
    except OSError:
        # Some file systems do not support hard links.
        shutil.copy2(path, to)


def _check_mended(folder: Path, sound: set[str], progress: Progress) -> None:
    """Raise RunError unless the shards other than `sound` and the ledger and job are intact."""
    mended = [record for record in Catalog.entered(folder).records if record.file not in sound]
    faults = verify_with_progress(folder, progress, mended).faults
    if faults:
        first = f"{faults[0].file} {faults[0].problem}".strip()
        kept = f"the replaced files are in {folder / REPLACED}; " if (folder / REPLACED).exists() else ""
        problem = f"{len(faults)} faults remain after the repair, the first: {first}"
        raise RunError(str(folder), problem, f"{kept}see {command('verify', folder)}")


def _job_of(folder: Path) -> Generate:
    """Return the job of a dataset, from its ledger if `job.toml` is damaged."""
    if not ledger.begun(folder) and ledger.read_job(folder) is None:
        raise InputError(str(folder), "no dataset", "give the folder that a generate job wrote")
    return build(Generate, Catalog(folder, ()).job, str(folder / ledger.JOB))


def verify_with_progress(
    folder: Path, progress: Progress, records: Sequence[ShardRecord] | None = None
) -> Verification:
    """Verify a dataset with a progress display; see `rayspin.storage.verify`.

    Args:
        folder: folder of the dataset.
        progress: display to use.
        records: shards to verify; default: all shards in the ledger.

    Raises:
        InputError: the folder has no dataset.
        MachineError: a file cannot be read.
    """
    _job_of(folder)
    catalog = Catalog.entered(folder)
    done = itertools.count(1)
    count = len(catalog.records if records is None else records)
    with progress.track("verify", count, "shard") as track:
        return verify(catalog, lambda: track.update(next(done)), records)
