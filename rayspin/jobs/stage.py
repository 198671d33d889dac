"""The interface of all kinds of job.

A `Stage` is an immutable config with a method `run`. A job file describes one stage or a pipeline of stages.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from rayspin.config import Config
from rayspin.errors import InputError, RunError
from rayspin.execution.session import Session
from rayspin.execution.stopping import StopRequest, interruptible
from rayspin.execution.work_queue import Unfinished
from rayspin.figure_files import figure_files
from rayspin.progress import Progress, Silent
from rayspin.rundir import RunDir, Summary, Table, write_text


@dataclass(frozen=True)
class Context:
    """Execution environment of a run. It is not part of the job.

    Attributes:
        session: Ray session whose CPUs and GPUs the run uses.
        progress: display of progress and messages.
        stop: stop request (signal or deadline) that the run obeys.
        figures: formats that figures are written in besides PNG, of `rayspin.figure_files.VECTOR_FORMATS`.
    """

    session: Session = field(default_factory=Session)
    progress: Progress = field(default_factory=Silent)
    stop: StopRequest = field(default_factory=StopRequest)
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Work and cost of a run, estimated before it starts.

    Attributes:
        title: heading of the plan.
        figures: rows of the printed table.
        core_seconds: time of the remaining work on one core of this machine, s.
        bytes: size of the files still to be written.
        parts: plans of the stages of a pipeline by name.
        listing: one line for each unit of work, if there are several.
        pieces: number of equal units of work that can run in parallel; more cores than this are not used. 0 if the work
            is not divided into such units.
    """

    title: str
    figures: dict[str, str]
    core_seconds: float
    bytes: int = 0
    parts: Mapping[str, Plan] = field(default_factory=dict)
    listing: tuple[str, ...] = ()
    pieces: int = 0

    def seconds_on(self, cores: int) -> float:
        """Wall time on `cores` cores, without the start-up time, s; the stages of a pipeline run one after another."""
        if self.parts:
            return sum(part.seconds_on(cores) for part in self.parts.values())
        if not self.pieces:
            return self.core_seconds / cores
        rounds = -(-self.pieces // cores)
        return self.core_seconds * rounds / self.pieces


class Stage(Config):
    """A job: the validated content of a job file."""

    may_change: ClassVar[frozenset[str]] = frozenset()
    """Patterns of dotted keys that may change when the job is run again in the same folder."""

    references: ClassVar[tuple[str, ...]] = ()
    """Keys whose value refers to the output of another job: a path relative to the working directory, or `@name` for a
    stage of the same pipeline."""

    sharded: ClassVar[bool] = False
    """Whether the work is divided into shards, which a Slurm job array can process without Ray."""

    kind: str
    """Kind of the job, a key of `rayspin.jobs.registry.KINDS`."""

    def identity(self) -> Table:
        """The resolved job without `resources`, as stored in the `job.toml` of a folder."""
        return {key: value for key, value in self.to_table().items() if key != "resources"}

    def identity_in(self, run: RunDir) -> Table:
        """The identity, with each reference spelled as in the job of this folder if both refer to the same data."""
        own, there = self.identity(), run.asked() or {}
        for key in self.references:
            spelled = there.get(key)
            if isinstance(spelled, str) and spelled != own.get(key, spelled) and self.means_same(key, spelled, run):
                own[key] = spelled
        return own

    def means_same(self, key: str, other: str, run: RunDir) -> bool:
        """Return whether two references resolve to the same file or folder.

        Args:
            key: key of the reference in this job.
            other: another value of that key.
            run: folder of the run, from which `@name` is resolved.
        """
        return same_place(getattr(self, key), other, run)

    def done(self, run: RunDir) -> Summary | None:
        """The summary of this job in a folder; None if it has not finished there."""
        return run.finished(self.identity_in(run))

    @abstractmethod
    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Check the job against the files that it reads. Nothing is written.

        Args:
            run: folder of the run.
            earlier: stages before this one in its pipeline by name; `@name` refers to them.

        Raises:
            InputError: a file is missing, or the parts of the job are inconsistent.
        """

    @abstractmethod
    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """Return the remaining work in this folder and its cost, measured on this machine within seconds.

        Args:
            run: folder of the run.
            earlier: stages before this one in its pipeline by name.
        """

    @abstractmethod
    def run(self, run: RunDir, context: Context) -> Summary:
        """Do the remaining work and return the summary.

        Args:
            run: folder of the run; it exists, is locked, and contains the `job.toml` of this job.
            context: execution environment.
        """


def same_place(reference: str, other: str, run: RunDir) -> bool:
    """Return whether two references exist and are the same file or folder.

    Args:
        reference: path, or `@name` for another stage of the pipeline.
        other: likewise.
        run: folder of the run, from which `@name` is resolved.
    """
    with suppress(OSError, InputError):
        return run.locate(reference).samefile(run.locate(other))
    return False


def execute(stage: Stage, run: RunDir, context: Context) -> Summary:
    """Start or resume a checked stage in its folder. If it has finished there, return its summary immediately.

    A finished stage without the requested figures (`rayspin.figure_files`) runs again. Its work is done, so it only
    draws them.

    Args:
        stage: stage to run; `Stage.check` has passed.
        run: folder of the run.
        context: execution environment.

    Raises:
        InputError: the folder belongs to another job.
        RunError: another process uses the folder, or the work failed.
        Incomplete: the run was stopped before its end; executing the stage again resumes it.
    """
    job = stage.identity_in(run)
    done = stage.done(run)
    if done is not None and not _lacks_figures(done, run):
        context.progress.say(f"{run.path}: already finished")
        return done
    with run.claimed(job, stage.may_change):
        start = time.monotonic()
        with interruptible():
            summary = stage.run(run, context)
        run.finish(replace(summary, seconds=time.monotonic() - start))
    return summary


def _lacks_figures(done: Summary, run: RunDir) -> bool:
    return not all(file.exists() for picture in done.pictures for file in figure_files(run.path / picture)[1:])


def check_finished(unfinished: Unfinished[Any], failure: str, done: str, run: RunDir, context: Context) -> None:
    """Check that a dispatch has completed all of its items.

    Args:
        unfinished: result of the dispatch.
        failure: description of failed items, such as "samples cannot be evaluated".
        done: description of the finished work, for the message of a run that was stopped.
        run: folder of the run; the traceback of the first failure is written to its `error.txt`.
        context: execution environment.

    Raises:
        RunError: items failed.
        Incomplete: the run was stopped.
    """
    if unfinished.failed:
        path = run.path / "error.txt"
        write_text(path, unfinished.failed[0].trace)
        raise RunError(str(run.path), f"{failure} ({unfinished.failed[0].error})", f"see {path}")
    if unfinished.remaining:
        raise context.stop.incomplete(str(run.path), done)
