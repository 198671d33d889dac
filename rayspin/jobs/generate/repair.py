"""Verify a dataset, and make again what is wrong with it."""

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
"""The folder in a dataset's where repair keeps what it replaces, until a verification has found the dataset sound."""


def repair(folder: Path, context: Context) -> list[Fault]:
    """Mend the ledger and the job of a dataset, and make its bad shards again, and only those; what was wrong.

    The job is taken from the ledger, lines of the ledger from shards that are whole. A shard is made again to the
    digest of its values that the ledger has; one that was wrong from the first is made anew. In the end what was mended
    is verified.

    Raises:
        InputError: there is no dataset.
        HeldError: another process works on it.
        RunError: a shard could not be made again as it was, or is not sound when it is; the rest is mended.
        Incomplete: it stopped on request; asked again, it goes on.
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
    # All of the dataset was verified, before or after.
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
        # Of two that the ledger does not know, the one that was there stays.
        with writing(folder):
            (folder / name).unlink()
            if name in kept:
                kept[name].rename(folder / name)

    if shards:
        recorder.tell_of_others(context.progress)
        maker = job.maker(folder)
        outcome = dispatch(context.session, context.stop, ShardMaker, maker, shards, finished)
        done = len(shards) - len(outcome.remaining) - len(outcome.failed)
        settle(folder, job, outcome, context.stop, f"{done} of {len(shards)} repaired")
    if changed:
        problem = f"made again, {', '.join(changed)} came out with other values than the ledger has"
        raise RunError(str(folder), problem, "use the package versions that its shards name")
    ledger.append(folder / ledger.LEDGER, *ledger.new_job(folder))


def _keep(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Keep the files of these names beside the dataset, too; where, by the names of those that are there."""
    kept = {}
    with writing(folder):
        for name in names:
            path = folder / name
            if not os.path.lexists(path):
                continue
            (folder / REPLACED).mkdir(exist_ok=True)
            # An earlier repair, which was stopped, may have kept others.
            numbered = (folder / REPLACED / (f"{name}.{n}" if n else name) for n in itertools.count())
            kept[name] = next(place for place in numbered if not os.path.lexists(place))
            _link(path, kept[name])
    return kept


def _link(path: Path, to: Path) -> None:
    """The file at `path` under another name as well; what is no file is moved there."""
    if path.is_symlink() or not path.is_file():
        path.rename(to)
        return
    try:
        to.hardlink_to(path)
    except OSError:
        # Some file systems have no links.
        shutil.copy2(path, to)


def _check_mended(folder: Path, sound: set[str], progress: Progress) -> None:
    """Raise RunError unless the shards that were not sound before are so now, and ledger and job with them."""
    mended = [record for record in Catalog.entered(folder).records if record.file not in sound]
    faults = verify_with_progress(folder, progress, mended).faults
    if faults:
        first = f"{faults[0].file} {faults[0].problem}".strip()
        kept = f"what it replaced is kept in {folder / REPLACED}; " if (folder / REPLACED).exists() else ""
        problem = f"{len(faults)} faults are left after the repair, the first: {first}"
        raise RunError(str(folder), problem, f"{kept}see {command('verify', folder)}")


def _job_of(folder: Path) -> Generate:
    """The job of a dataset, by its ledger if its file is damaged."""
    if not ledger.begun(folder) and ledger.read_job(folder) is None:
        raise InputError(str(folder), "no dataset", "give the folder that a generate job wrote")
    return build(Generate, Catalog(folder, ()).job, str(folder / ledger.JOB))


def verify_with_progress(
    folder: Path, progress: Progress, records: Sequence[ShardRecord] | None = None
) -> Verification:
    """Everything wrong with the dataset in `folder`, or with some of its shards; see `rayspin.storage.verify`.

    Raises:
        InputError: there is no dataset.
        MachineError: a file can't be read.
    """
    _job_of(folder)
    catalog = Catalog.entered(folder)
    done = itertools.count(1)
    count = len(catalog.records if records is None else records)
    with progress.track("verify", count, "shard") as track:
        return verify(catalog, lambda: track.update(next(done)), records)
