"""Array mode: a part of a dataset's shards on this node alone, without Ray, beside other tasks of the same array.

Each task claims the folder together with the others, works through its part on all its cores, and keeps a ledger of its
own. No task needs another: parts may overlap, end in any order, be killed and asked again; the bytes are those of a run
over Ray. The last one to end folds the ledgers into one and marks the dataset as finished.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from rayspin.claims import PATIENCE_S, HeldError
from rayspin.errors import InputError
from rayspin.execution.local_processes import dispatch_to_processes
from rayspin.execution.session import usable_cpus
from rayspin.jobs.generate.job import Generate
from rayspin.jobs.generate.making import MadeShard, ShardMaker, warm_up
from rayspin.jobs.generate.recipe import Shard
from rayspin.jobs.generate.recorder import Recorder, settle
from rayspin.jobs.stage import Context, Stage
from rayspin.rundir import RunDir, Summary
from rayspin.storage import own_ledger


@dataclass(frozen=True)
class ShardRange:
    """Shards `start` to `stop` - 1 of those that a whole job is cut into."""

    start: int
    stop: int

    @classmethod
    def parse(cls, text: str, shards: int) -> ShardRange:
        """The part that a user means, of a job cut into so many shards.

        Args:
            text: "a:b" for shards a to b - 1, counted from 0; "k/n" for the k-th of n equal parts, counted from 1.
            shards: of the whole job.

        Raises:
            InputError: it means none.
        """
        where = f"--shards {text}"
        if match := re.fullmatch(r"(\d+):(\d+)", text):
            start, stop = map(int, match.groups())
            if not start < stop or start >= shards:
                raise InputError(where, f"no shard of 0 to {shards - 1}", "give FIRST:STOP, with STOP not included")
            return cls(start, min(stop, shards))
        if match := re.fullmatch(r"(\d+)/(\d+)", text):
            number, parts = map(int, match.groups())
            if not 1 <= number <= parts:
                raise InputError(where, f"no part {number} of {parts}", "count them from 1")
            return cls((number - 1) * shards // parts, number * shards // parts)
        raise InputError(where, "not of the form FIRST:STOP or K/N", "write --shards 0:100, or --shards 3/16")

    def __str__(self) -> str:
        return f"shards {self.start}:{self.stop}"


def run_part(stage: Stage, shards: str, run: RunDir, context: Context) -> Summary:
    """Make the missing shards of a part; mark the dataset as finished if it is whole and no other task is at work.

    Args:
        stage: the whole job.
        shards: which part of it, as in `ShardRange.parse`.
        run: the folder of the whole job.
        context: who watches, and what asks to stop.

    Raises:
        InputError: the job can't run there, or has no such shards.
        RunError: a run that works alone holds the folder, or shards failed.
        Incomplete: it stopped on request; asked again, it goes on.
    """
    if not isinstance(stage, Generate):
        raise InputError("--shards", f"a {stage.kind!r} job has no shards", "use it with a job that generates")
    part = ShardRange.parse(shards, len(stage.shards()))
    stage.check(run, {})
    done = stage.done(run)
    if done is not None:
        context.progress.say(f"{run.path}: done before")
        return done
    with run.shared(stage.identity(), stage.may_change, str(part)):
        summary = _make(stage, part, run, context)
    return _finish(stage, run) or summary


def _make(job: Generate, part: ShardRange, run: RunDir, context: Context) -> Summary:
    recorder = Recorder.resume(
        run.path, job, lambda shard: part.start <= shard[0] // job.shard_samples < part.stop, own_ledger()
    )
    shards = recorder.missing
    if shards:
        recorder.tell_of_others(context.progress)
    total = sum(count for first, count in job.shards()[part.start : part.stop])
    to_do = sum(count for _, count in shards)
    done = total - to_do
    with context.progress.track(f"generate {part}", total, "sample", done) as track:

        def finished(shard: Shard, made: MadeShard) -> None:
            nonlocal done
            recorder.record(shard, made)
            done += shard[1]
            track.update(done, energy=made.mean_energy)

        maker = job.maker(run.path)
        # A GPU takes many samples at once, from one process.
        processes = 1 if job.resources.gpu else usable_cpus()
        outcome = dispatch_to_processes(
            processes, context.stop, ShardMaker, maker, shards, finished, partial(warm_up, job)
        )
    settle(run.path, job, outcome, context.stop, f"{done} of {total} samples of {part} done")
    return Summary(str(part), {"samples": f"{total}, {to_do} of them now"})


def _finish(job: Generate, run: RunDir) -> Summary | None:
    """Mark the dataset as finished, if it is whole and nobody else is at work."""
    try:
        with run.claimed(job.identity(), job.may_change, PATIENCE_S / 10):
            recorder = Recorder.resume(run.path, job)
            if recorder.missing:
                return None
            summary = recorder.summary()
            run.finish(summary)
            return summary
    except HeldError:
        return None
