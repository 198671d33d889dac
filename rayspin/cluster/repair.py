"""Verify a dataset, and make again what is wrong with it."""

from __future__ import annotations

import itertools
from pathlib import Path

from rayspin.claims import claim
from rayspin.cluster.fanout import fan_out
from rayspin.cluster.generate import Generate, MadeShard, ShardMaker
from rayspin.cluster.recorder import Recorder, Shard, settle
from rayspin.cluster.stage import Context
from rayspin.config import build
from rayspin.errors import InputError, RunError
from rayspin.progress import Progress
from rayspin.rundir import RunDir, write_text, writing
from rayspin.storage import Catalog, Fault, Verification, ledger, verify


def repair(folder: Path, context: Context) -> list[Fault]:
    """Mend the ledger and the job of a dataset, and make its bad shards again, and only those; what was wrong.

    The job is taken from the ledger, lines of the ledger from shards that are whole. A shard is made again to the
    digest that the ledger has; one that was wrong from the first is made anew.

    Raises:
        InputError: there is no dataset.
        HeldError: another process works on it.
        RunError: a shard could not be made again as it was; the rest is mended.
        Incomplete: it stopped on request; asked again, it goes on.
    """
    job = _job_of(folder)
    with writing(folder), claim(folder):
        faults = verify_with_progress(folder, context.progress).faults
        text = ledger.job_text(folder)
        if text is not None and text != ledger.read_job(folder):
            write_text(folder / ledger.JOB, text)
    if faults:
        with RunDir.at(folder).claimed(job.identity()):
            _mend(folder, job, faults, context)
    return faults


def _mend(folder: Path, job: Generate, faults: list[Fault], context: Context) -> None:
    recorder = Recorder(folder, job)
    catalog = Catalog.entered(folder)
    before = {record.first_sample: record for record in catalog.records}
    bad = {(fault.first_sample, fault.count): fault for fault in faults if fault.count and fault.file}
    changed: list[str] = []

    def finished(shard: Shard, made: MadeShard) -> None:
        old = before.get(shard[0])
        if old is None or bad[shard].as_written or old.values_sha256 == made.record.values_sha256:
            recorder.enter(shard, made, note="repaired")
        else:
            changed.append(made.record.file)

    shards = sorted({*bad, *catalog.missing(job.samples, job.shard_samples)})
    if shards:
        maker = (job, folder.resolve())
        outcome = fan_out(context.session, context.stop, ShardMaker, maker, shards, finished)
        done = len(shards) - len(outcome.left) - len(outcome.set_aside)
        settle(folder, job, outcome, context.stop, f"{done} of {len(shards)} repaired")
    if changed:
        problem = f"made again, {', '.join(changed)} came out with other values than the ledger has"
        raise RunError(str(folder), problem, "use the package versions that its shards name")
    ledger.append(folder / ledger.LEDGER, *ledger.new_job(folder))


def _job_of(folder: Path) -> Generate:
    """The job of a dataset, by its ledger if its file is damaged."""
    if not ledger.begun(folder) and ledger.read_job(folder) is None:
        raise InputError(str(folder), "no dataset", "give the folder that a generate job wrote")
    return build(Generate, Catalog(folder, ()).job, str(folder / ledger.JOB))


def verify_with_progress(folder: Path, progress: Progress) -> Verification:
    """Everything wrong with the dataset in `folder`; see `rayspin.storage.verify`.

    Raises:
        InputError: there is no dataset.
    """
    _job_of(folder)
    catalog = Catalog.entered(folder)
    done = itertools.count(1)
    with progress.track("verify", len(catalog.records), "shard") as track:
        return verify(catalog, lambda: track.update(next(done)))
