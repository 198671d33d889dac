"""State, events and logs of submissions, read from their files; the scheduler is queried at most once a minute.

A submission has one part per submitted job: a single one, one per stage of a pipeline, or one per task of an array.
Each part records its events in a folder of its own.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil

from rayspin.errors import InputError
from rayspin.inputs import RECORD_BYTES, parse_json, read_text
from rayspin.launch import scheduler
from rayspin.launch.events import ENDS, Cancelled, Ended, Event, Ready, Started, read_events, record_event, timed_events
from rayspin.launch.exit_codes import DONE, FAILED, INCOMPLETE
from rayspin.rundir import write_text

ASK_EVERY_SECONDS = 60.0
"""Seconds between two queries of the scheduler. Sites ban users whose programs query it more often."""

FEW = 8
"""Maximum number of parts that are listed one by one; of more parts, only the counts per state are shown."""

RECORD = "submission.json"
"""File in a submission's folder that holds everything except its events."""

_DAMAGED = "check which other program writes in this folder; the jobs themselves are not affected"


@dataclass(frozen=True)
class Part:
    """One submitted job.

    Attributes:
        job_id: ID of the job in the scheduler; with cluster "local", the ID of the process that runs the tasks.
        folder: folder in which the job records its events.
        log: file with the output of the first task, which includes the output of the run.
        stage: stage of a pipeline; empty for a single job.
        task: number of the task of an array, counted from 1; None without an array.
        after: stages that must be done before the job starts.
    """

    job_id: str
    folder: Path
    log: Path
    stage: str = ""
    task: int | None = None
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name for messages, from stage and task; empty for a single job."""
        return " ".join(filter(None, (self.stage, "" if self.task is None else f"task {self.task}")))


@dataclass(frozen=True)
class State:
    """The state of a part or of a whole submission.

    Attributes:
        name: queued, running, done, failed, refused (bad input), stopped, or gone (ended without an exit code).
        why: explanation, which may be empty; for a queued job, the reason given by the scheduler.
    """

    name: str
    why: str = ""

    @property
    def final(self) -> bool:
        """Whether the state can no longer change by itself."""
        return self.name not in {"queued", "running"}

    def __str__(self) -> str:
        why = scheduler.meaning(self.why) if self.name == "queued" else self.why
        return f"{self.name} ({why})" if why else self.name


@dataclass(frozen=True)
class Submission:
    """The jobs that were submitted together.

    Attributes:
        folder: folder of the submission, with the job file as submitted, scripts, logs and events.
        cluster: "slurm" or "local".
        time: time of the submission in seconds since 1970.
        parts: the submitted jobs, in the order of stages and tasks.
    """

    folder: Path
    cluster: str
    time: float
    parts: tuple[Part, ...]

    @property
    def job_ids(self) -> str:
        """The IDs of the jobs, separated by commas; a Slurm array has one ID."""
        if self.cluster == "local":
            return ", ".join(part.job_id for part in self.parts)
        return ", ".join(dict.fromkeys(part.job_id.partition("_")[0] for part in self.parts))

    def write(self) -> None:
        """Write the record of the submission to its folder, where `latest` finds it."""
        # Paths below the folder are written as relative paths, so that the run can be moved.
        parts = [
            asdict(part) | {"folder": self._inside(part.folder), "log": self._inside(part.log)} for part in self.parts
        ]
        table = {"cluster": self.cluster, "time": self.time, "parts": parts}
        write_text(self.folder / RECORD, json.dumps(table, indent=1) + "\n")

    def _inside(self, path: Path) -> str:
        return str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path)

    @classmethod
    def read(cls, folder: Path) -> Submission:
        """Read the submission whose folder this is.

        Raises:
            InputError: the submission was not completed, or its record is damaged.
        """
        record = folder / RECORD
        table = parse_json(read_text(record, limit=RECORD_BYTES), str(record), _DAMAGED)
        try:
            parts = [
                part | {"folder": folder / part["folder"], "log": folder / part["log"], "after": tuple(part["after"])}
                for part in table["parts"]
            ]
            return cls(folder, table["cluster"], float(table["time"]), tuple(Part(**part) for part in parts))
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(str(record), f"the record is damaged ({error!r})", _DAMAGED) from None


def latest(out: Path) -> Submission:
    """Return the last submission of the run in the folder `out`.

    Raises:
        InputError: the run was never submitted.
    """
    found = history(out)
    if not found:
        remedy = f"submit it with `rayspin submit JOB.toml --out {out}`, or give another folder"
        raise InputError(str(out), "this run was never submitted", remedy)
    return found[-1]


def history(out: Path) -> list[Submission]:
    """Return all submissions of the run in the folder `out`, the latest last."""
    records = (out / "submissions").glob(f"*/{RECORD}")
    found = (Submission.read(record.parent) for record in records)
    # Slurm rounds times to seconds, so the job ID in the folder's name decides between submissions of one script.
    return sorted(found, key=lambda one: (one.time, len(one.folder.name), one.folder.name))


def states(submission: Submission) -> dict[Part, State]:
    """Return the current state of each part. The scheduler is queried unless all parts have recorded their end."""
    events_of = {part: read_events(part.folder) for part in submission.parts}
    found = {part: end for part, events in events_of.items() if (end := _recorded_end(part, events)) is not None}
    left = [part for part in submission.parts if part not in found]
    if not left:
        return {part: found[part] for part in submission.parts}
    queue = _in_slurm(left) if submission.cluster == "slurm" else _on_this_machine(left)
    for part in submission.parts:
        if part not in found:
            found[part] = queue.get(part) or _state_without_end(part, events_of[part], found)
    return {part: found[part] for part in submission.parts}


def state(submission: Submission) -> State:
    """Return the current state of the submission as a whole."""
    return overall(states(submission))


def overall(by_part: dict[Part, State]) -> State:
    """Combine the states of parts: running or queued if any part is, otherwise the worst final state."""
    if len(by_part) == 1:
        return next(iter(by_part.values()))
    order = ("running", "queued", "failed", "refused", "gone", "stopped", "done")
    names = Counter(state.name for state in by_part.values())
    name = next(name for name in order if name in names)
    if len(by_part) <= FEW and all(part.stage for part in by_part):
        # The pending reason of each stage is shown, because it may delay the whole pipeline.
        stages = (f"{part.name} {now if now.name == 'queued' else now.name}" for part, now in by_part.items())
        return State(name, ", ".join(stages))
    counts = ", ".join(f"{names[name]} {name}" for name in reversed(order) if name in names)
    return State(name, f"of {len(by_part)}: {counts}")


def wait(submission: Submission) -> State:
    """Wait until the submission has a final state, and return it."""
    for end in _until_final(submission):
        if end.final:
            return end
    raise AssertionError


def follow(submission: Submission) -> Iterator[str]:
    """Yield the output of the run as it is printed, until the submission has ended.

    Lines of the stages of a pipeline start with the name of the stage. For an array, the counts of tasks per state are
    yielded instead. While the submission is queued, the reasons are yielded.
    """
    last_shown = ""
    counted = any(part.task is not None for part in submission.parts)
    positions = dict.fromkeys(submission.parts, 0)
    for now in _until_final(submission):
        if (counted or now.name == "queued") and now.why != last_shown:
            last_shown = now.why
            yield f"{now}\n"
        for part in submission.parts:
            if part.task is None:
                text, positions[part] = _read_from(part.log, positions[part], whole=not now.final)
                yield _prefixed(part, text)


def logs(submission: Submission) -> Iterator[str]:
    """Yield the output of the run so far, part by part."""
    for part in submission.parts:
        yield _prefixed(part, _read_from(part.log, 0)[0])


def cancel(submission: Submission) -> None:
    """Cancel all parts of the submission, on all nodes; completed work is kept.

    Raises:
        InputError: the submission has ended already.
        RunError: the scheduler does not respond, or refuses.
    """
    by_part = states(submission)
    if overall(by_part).final:
        where = f"job {submission.job_ids}"
        raise InputError(where, f"already {overall(by_part).name}", "submit again to resume the run")
    unfinished = [part for part, now in by_part.items() if not now.final]
    for part in unfinished:
        record_event(part.folder, Cancelled())
    if submission.cluster == "slurm":
        scheduler.cancel([part.job_id for part in unfinished])
    else:
        for part in unfinished:
            os.kill(int(part.job_id), signal.SIGTERM)


def describe(submission: Submission) -> list[str]:
    """Return the events of the submission with their times, one per line; large arrays omit regular starts and ends."""
    start = (submission.time, "", f"submitted as job {submission.job_ids} ({submission.cluster})")
    many = sum(part.task is not None for part in submission.parts) > FEW
    events = [
        (when, f"{part.name}: " if part.name else "", str(event))
        for part in submission.parts
        for when, event in timed_events(part.folder)
        if not (many and part.task is not None and _is_regular(event))
    ]
    return [
        f"{datetime.fromtimestamp(when).astimezone():%Y-%m-%d %H:%M:%S}  {who}{what}"
        for when, who, what in [start, *sorted(events, key=lambda event: event[0])]
    ]


def _is_regular(event: Event) -> bool:
    return isinstance(event, Started | Ready) or (isinstance(event, Ended) and event.code == DONE)


def _recorded_end(part: Part, events: Sequence[Event]) -> State | None:
    """The final state that the part has recorded; None if it may still continue."""
    last = events[-1] if events else None
    if not isinstance(last, Ended) or last.code == INCOMPLETE:
        return None
    why = last.problem if last.problem or last.code == DONE else _last_line(part.log)
    return State(ENDS.get(last.code, ENDS[FAILED]), why)


def _state_without_end(part: Part, events: Sequence[Event], others: dict[Part, State]) -> State:
    """The state of a part that is no longer known to the scheduler and has not recorded a final exit code."""
    if any(isinstance(event, Cancelled) for event in events):
        return State("stopped", "canceled")
    if events and isinstance(last := events[-1], Ended):
        return State("stopped", last.problem)
    if events:
        return State("gone", f"it ended without an exit code; see {part.log}")
    for other, end in others.items():
        if other.stage in part.after and end.final and end.name != "done":
            return State("stopped", f"it never started: {other.name} {end.name}")
    return State("gone", f"it never started: {_last_line(part.log) or f'check that the nodes share {part.folder}'}")


def _prefixed(part: Part, text: str) -> str:
    return "".join(f"{part.name} | {line}" for line in text.splitlines(keepends=True)) if part.name else text


def _until_final(submission: Submission) -> Iterator[State]:
    """Yield the state about once a second until it is final; the final state is yielded last."""
    last_query, seen, now = -ASK_EVERY_SECONDS, -1, State("queued")
    # Local processes can be checked at any time.
    pause = ASK_EVERY_SECONDS if submission.cluster == "slurm" else 0.0
    while not now.final:
        events = sum(_size(part.folder) for part in submission.parts)
        if events != seen or time.monotonic() - last_query > pause:
            seen, last_query = events, time.monotonic()
            now = state(submission)
        yield now
        # With many parts, their files on the shared file system are read less often.
        time.sleep(0 if now.final else max(1.0, len(submission.parts) / 100))


def _size(folder: Path) -> int:
    return len(read_events(folder))


def _in_slurm(parts: Sequence[Part]) -> dict[Part, State]:
    entries = scheduler.queue([part.job_id for part in parts])
    return {part: _as_state(*entries[part.job_id]) for part in parts if part.job_id in entries}


def _as_state(word: str, reason: str) -> State:
    return State("queued", reason) if word in {"PENDING", "REQUEUED", "REQUEUE_HOLD"} else State("running")


def _on_this_machine(parts: Sequence[Part]) -> dict[Part, State]:
    return {part: State("running") for part in parts if _runs_submitit(part.job_id)}


def _runs_submitit(process: str) -> bool:
    # The process ID may have been reused by another process.
    try:
        return any("submitit" in word for word in psutil.Process(int(process)).cmdline())
    except psutil.Error:
        return False


def _last_line(log: Path) -> str:
    text, _ = _read_from(log, max(0, log.stat().st_size - 2000) if log.exists() else 0)
    # Lines added by Slurm say only that the task failed.
    lines = (line for line in reversed(text.splitlines()) if not line.startswith(("srun: ", "slurmstepd: ")))
    return next((line for line in lines if line.strip()), "")


def _read_from(log: Path, position: int, whole: bool = False) -> tuple[str, int]:
    """Return the text of a log from a position on, and the position of its end.

    Args:
        log: the log file, which may not exist yet.
        position: position of the first byte.
        whole: whether to leave out an incomplete last line.
    """
    try:
        with log.open("rb") as file:
            file.seek(position)
            data = file.read()
    except FileNotFoundError:
        return "", position
    if whole:
        data = data[: data.rfind(b"\n") + 1]
    return data.decode(errors="replace"), position + len(data)
