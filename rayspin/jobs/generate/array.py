"""Generation in a job array: each task makes a range of shards on one node, without Ray.

The tasks share the claim on the folder, and each keeps a ledger of its own. They don't depend on each other: ranges may
overlap, finish in any order, and be killed and repeated; the bytes are those of a run over Ray. The last task to finish
merges the ledgers and marks the dataset as finished.
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
    """Shards `start` to `stop` - 1 of a dataset."""

    start: int
    stop: int

    @classmethod
    def parse(cls, text: str, shards: int) -> ShardRange:
        """Parse the value of `--shards`.

        Args:
            text: "a:b" for shards a to b - 1, counted from 0; "k/n" for the k-th of n equal parts, counted from 1.
            shards: number of shards of the dataset.

        Raises:
            InputError: the text has neither form, or the range holds no shard.
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
    """Make the missing shards of a range, and mark the dataset as finished if no shard is missing then.

    Args:
        stage: the job of the whole dataset.
        shards: the range, as in `ShardRange.parse`.
        run: the dataset folder.
        context: the progress to report to and the request to stop; no Ray session is started.

    Raises:
        InputError: the job can't run in this folder, or has no such shards.
        RunError: a run over Ray holds the folder, or shards failed.
        Incomplete: the task was stopped; the same command resumes it.
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
        # One process gives a GPU many samples at once.
        processes = 1 if job.resources.gpu else usable_cpus()
        unfinished = dispatch_to_processes(
            processes, context.stop, ShardMaker, maker, shards, finished, partial(warm_up, job)
        )
    settle(run.path, job, unfinished, context.stop, f"{done} of {total} samples of {part} done")
    return Summary(str(part), {"samples": f"{total}, {to_do} of them now"})


def _finish(job: Generate, run: RunDir) -> Summary | None:
    """Mark the dataset as finished if no shard is missing and no other task is at work."""
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
