"""Verify a dataset, and make again what is wrong with it."""

from __future__ import annotations

import itertools
from pathlib import Path

from rayspin.cluster.fanout import fan_out
from rayspin.cluster.generate import Generate, MadeShard, ShardMaker
from rayspin.cluster.recorder import Shard, quarantined
from rayspin.cluster.stage import Context
from rayspin.errors import RunError
from rayspin.progress import Progress
from rayspin.rundir import RunDir
from rayspin.storage import Catalog, Fault, Verification, ledger, verify


def repair(folder: Path, context: Context) -> list[Fault]:
    """Make the bad shards of a dataset again, and only those; what was wrong.

    Raises:
        InputError: there is no dataset.
        RunError: a shard could not be made again as it was; the rest is mended.
    """
    Catalog.open(folder)
    job = Generate.of(folder)
    with RunDir.at(folder).claimed(job.identity()):
        ledger.merge(folder)
        faults = verify_with_progress(folder, context.progress).faults
        catalog = Catalog.entered(folder)
        before = {record.first_sample: record for record in catalog.records}
        changed: list[str] = []

        def finished(shard: Shard, made: MadeShard) -> None:
            old = before.get(shard[0])
            if old is not None and old.values_sha256 != made.record.values_sha256:
                changed.append(made.record.file)
            else:
                catalog.append(made.record, host=made.host, seconds=made.seconds, note="repaired")

        shards = sorted({(fault.first_sample, fault.count) for fault in faults})
        if shards:
            outcome = fan_out(context.session, context.stop, ShardMaker, (job, folder.resolve()), shards, finished)
            if outcome.set_aside:
                raise quarantined(folder, job, outcome.set_aside)
            if outcome.left:
                raise context.stop.incomplete(
                    str(folder), f"{len(shards) - len(outcome.left)} of {len(shards)} repaired"
                )
        if changed:
            problem = f"made again, {', '.join(changed)} came out with other values than the ledger has"
            raise RunError(str(folder), problem, "use the package versions that its shards name")
    return faults


def verify_with_progress(folder: Path, progress: Progress) -> Verification:
    """Everything wrong with the dataset in `folder`; see `rayspin.storage.verify`."""
    catalog = Catalog.entered(folder)
    done = itertools.count(1)
    with progress.track("verify", len(catalog.records), "shard") as track:
        return verify(catalog, lambda: track.update(next(done)))
