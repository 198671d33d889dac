"""What every kind of job has in common.

A stage is a frozen config with `run`: a job file holds one stage, or a pipeline of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

from rayspin.config import Config
from rayspin.errors import InputError
from rayspin.execution.session import Session
from rayspin.execution.stopping import StopRequest, interruptible
from rayspin.progress import Progress, Silent
from rayspin.rundir import RunDir, Summary, Table


@dataclass(frozen=True)
class Context:
    """What a run is given by whoever starts it, and what is no part of the job: where it runs and who watches."""

    session: Session = field(default_factory=Session)
    progress: Progress = field(default_factory=Silent)
    stop: StopRequest = field(default_factory=StopRequest)


@dataclass(frozen=True)
class Plan:
    """What a run would do and cost."""

    title: str
    figures: dict[str, str]
    core_seconds: float
    """Of the work still to do, on cores like this machine's."""
    bytes: int = 0
    """Still to be written."""
    parts: tuple[Plan, ...] = ()
    listing: tuple[str, ...] = ()
    """The parts of the work one by one, where there is more than one."""
    pieces: int = 0
    """Equal parts that the work falls into and more cores than which are of no use; 0 if it has no such parts."""

    def seconds_on(self, cores: int) -> float:
        """Walltime on so many cores, start-up aside."""
        if not self.pieces:
            return self.core_seconds / cores
        rounds = -(-self.pieces // cores)
        return self.core_seconds * rounds / self.pieces


class Stage(Config):
    """One job: what a job file describes."""

    may_change: ClassVar[frozenset[str]] = frozenset()
    """Patterns of dotted keys in which a job may differ from the one that its folder was made for."""

    references: ClassVar[tuple[str, ...]] = ()
    """Keys that name what another job made: a path, relative to the working folder, or `@name` of a stage."""

    sharded: ClassVar[bool] = False
    """Whether the work falls into shards, which an array of Slurm jobs can share without Ray."""

    kind: str

    def identity(self) -> Table:
        """The resolved job without the facts of the machine it runs on: what a folder is marked with."""
        return {key: value for key, value in self.to_table().items() if key != "resources"}

    def identity_in(self, run: RunDir) -> Table:
        """The same, with references spelled as the job of this folder has them where both mean the same."""
        own, there = self.identity(), run.asked() or {}
        for key in self.references:
            spelled = there.get(key)
            if isinstance(spelled, str) and spelled != own[key] and self.means_same(key, spelled, run):
                own[key] = spelled
        return own

    def means_same(self, key: str, other: str, run: RunDir) -> bool:
        """Whether another reference under this key means what the job's own means: they lead to the same place."""
        with suppress(OSError, InputError):
            return run.locate(other).samefile(run.locate(getattr(self, key)))
        return False

    def done(self, run: RunDir) -> Summary | None:
        """The summary of this job's run in a folder, if it has ended there."""
        return run.finished(self.identity_in(run))

    @abstractmethod
    def check(self, run: RunDir, earlier: Mapping[str, Stage]) -> None:
        """Look at all that can be looked at before anything is written.

        Args:
            run: where the job would run.
            earlier: the stages before this one in its pipeline; `@name` refers to them.

        Raises:
            InputError: a file is missing, or things don't fit together.
        """

    @abstractmethod
    def plan(self, run: RunDir, earlier: Mapping[str, Stage]) -> Plan:
        """What a run in this folder would still do, and its cost from a calibration of seconds on this machine."""

    @abstractmethod
    def run(self, run: RunDir, context: Context) -> Summary:
        """Do the work, or what is left of it. The folder is there, locked, and marked as this job's."""


def execute(stage: Stage, run: RunDir, context: Context) -> Summary:
    """Start or resume a checked stage in its folder; a stage that has ended there returns its summary at once.

    Raises:
        InputError: the folder holds the run of another job.
        RunError: another process works on it, or the work failed.
        Incomplete: it stopped before its end; asked again, it goes on.
    """
    job = stage.identity_in(run)
    done = stage.done(run)
    if done is not None:
        context.progress.say(f"{run.path}: done before")
        return done
    with run.claimed(job, stage.may_change):
        with interruptible():
            summary = stage.run(run, context)
        run.finish(summary)
    return summary
