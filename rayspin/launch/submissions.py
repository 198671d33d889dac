"""What became of a submission: its state, events and logs, from its files; the scheduler is asked once a minute.

A submission has one part for each job that it handed over: one in all, one for each stage of a pipeline, or one for
each task of an array. Each part has a folder of its own, in which it records its events.
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
from typing import Any

import psutil

from rayspin.errors import InputError
from rayspin.inputs import RECORD_BYTES, parse_json, read_text
from rayspin.launch import scheduler
from rayspin.launch.events import read_events, record_event
from rayspin.launch.exit_codes import BAD_INPUT, DONE, FAILED, INCOMPLETE
from rayspin.rundir import write_text

ASK_EVERY_SECONDS = 60.0
"""Sites ban users whose programs ask the scheduler more often."""

FEW = 8
"""Parts that are told of one by one; of more, only how many are in which state."""

RECORD = "submission.json"
"""The file in a submission's folder that holds all but its events."""

_DAMAGED = "look who else writes in that folder; its jobs go on all the same"

_ENDS = {DONE: "done", FAILED: "failed", BAD_INPUT: "refused", INCOMPLETE: "stopped"}


@dataclass(frozen=True)
class Part:
    """One job that was handed over.

    Attributes:
        job_id: as the scheduler calls it; with cluster "local" the process that runs the tasks.
        folder: where it records its events.
        log: what its first task, and so the run itself, prints.
        stage: of a pipeline; empty if there are none.
        task: number of an array's task, from 1 on; None if there is no array.
        after: stages that must have ended well before it starts.
    """

    job_id: str
    folder: Path
    log: Path
    stage: str = ""
    task: int | None = None
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What people call it; empty for the only one."""
        return " ".join(filter(None, (self.stage, "" if self.task is None else f"task {self.task}")))


@dataclass(frozen=True)
class State:
    """Where a part, or a whole submission, stands.

    Attributes:
        name: queued, running, done, failed, refused (bad input), stopped, or gone (ended without a word).
        why: more of it; may be empty. Of a queued job the scheduler's reason.
    """

    name: str
    why: str = ""

    @property
    def final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.name not in {"queued", "running"}

    def __str__(self) -> str:
        why = scheduler.meaning(self.why) if self.name == "queued" else self.why
        return f"{self.name} ({why})" if why else self.name


@dataclass(frozen=True)
class Submission:
    """What was handed over at once.

    Attributes:
        folder: its own: the job as submitted, scripts, logs, events.
        cluster: "slurm" or "local".
        time: when, in seconds since 1970.
        parts: in the order of the stages and tasks.
    """

    folder: Path
    cluster: str
    time: float
    parts: tuple[Part, ...]

    @property
    def job_ids(self) -> str:
        """The numbers of its jobs; an array has one."""
        if self.cluster == "local":
            return ", ".join(part.job_id for part in self.parts)
        return ", ".join(dict.fromkeys(part.job_id.partition("_")[0] for part in self.parts))

    def write(self) -> None:
        """Put the record into the folder, where `latest` finds it."""
        # Paths below the folder are kept relative, so that a run can be moved.
        parts = [
            asdict(part) | {"folder": self._inside(part.folder), "log": self._inside(part.log)} for part in self.parts
        ]
        table = {"cluster": self.cluster, "time": self.time, "parts": parts}
        write_text(self.folder / RECORD, json.dumps(table, indent=1) + "\n")

    def _inside(self, path: Path) -> str:
        return str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path)

    @classmethod
    def read(cls, folder: Path) -> Submission:
        """The submission whose folder this is.

        Raises:
            InputError: it was never completed, or its record is not what was written.
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
            raise InputError(str(record), f"is not what was written ({error!r})", _DAMAGED) from None


def latest(out: Path) -> Submission:
    """The last submission of the run in the folder `out`.

    Raises:
        InputError: there is none.
    """
    found = history(out)
    if not found:
        remedy = "rayspin submit JOB.toml --out, or another folder"
        raise InputError(str(out), "nothing was submitted for this run", remedy)
    return found[-1]


def history(out: Path) -> list[Submission]:
    """All submissions of the run in the folder `out`, the latest last."""
    records = (out / "submissions").glob(f"*/{RECORD}")
    found = (Submission.read(record.parent) for record in records)
    # Of two that one script hands over, Slurm knows whole seconds only: their numbers say which was later.
    return sorted(found, key=lambda one: (one.time, len(one.folder.name), one.folder.name))


def states(submission: Submission) -> dict[Part, State]:
    """Where each part stands now; asks the scheduler unless all their events have an end."""
    events_of = {part: read_events(part.folder) for part in submission.parts}
    found = {part: end for part, events in events_of.items() if (end := _told_end(part, events)) is not None}
    left = [part for part in submission.parts if part not in found]
    if not left:
        return {part: found[part] for part in submission.parts}
    queue = _in_slurm(left) if submission.cluster == "slurm" else _on_this_machine(left)
    for part in submission.parts:
        if part not in found:
            found[part] = queue.get(part) or _gone(part, events_of[part], found)
    return {part: found[part] for part in submission.parts}


def state(submission: Submission) -> State:
    """Where the submission as a whole stands now."""
    return overall(states(submission))


def overall(by_part: dict[Part, State]) -> State:
    """The state of a whole: of its liveliest part, or else of the one that fared worst."""
    if len(by_part) == 1:
        return next(iter(by_part.values()))
    order = ("running", "queued", "failed", "refused", "gone", "stopped", "done")
    names = Counter(state.name for state in by_part.values())
    name = next(name for name in order if name in names)
    if len(by_part) <= FEW and all(part.stage for part in by_part):
        # What a stage waits for may be what keeps all of them.
        stages = (f"{part.name} {now if now.name == 'queued' else now.name}" for part, now in by_part.items())
        return State(name, ", ".join(stages))
    counts = ", ".join(f"{names[name]} {name}" for name in reversed(order) if name in names)
    return State(name, f"of {len(by_part)}: {counts}")


def wait(submission: Submission) -> State:
    """The final state of the submission, once it has one."""
    for end in _until_final(submission):
        if end.final:
            return end
    raise AssertionError


def follow(submission: Submission) -> Iterator[str]:
    """What the run prints, as it comes, until the submission has ended.

    Stages of a pipeline put their names before their lines; of an array's tasks it is told how many are in which state.
    While all wait, it is told for what.
    """
    told = ""
    counted = any(part.task is not None for part in submission.parts)
    positions = dict.fromkeys(submission.parts, 0)
    for now in _until_final(submission):
        if (counted or now.name == "queued") and now.why != told:
            told = now.why
            yield f"{now}\n"
        for part in submission.parts:
            if part.task is None:
                text, positions[part] = _read_from(part.log, positions[part], whole=not now.final)
                yield _prefixed(part, text)


def logs(submission: Submission) -> Iterator[str]:
    """What the run has printed so far, of each part after the other."""
    for part in submission.parts:
        yield _prefixed(part, _read_from(part.log, 0)[0])


def cancel(submission: Submission) -> None:
    """End all parts of the submission, on all nodes; what is done is kept.

    Raises:
        InputError: it has ended already.
        RunError: the scheduler refuses.
    """
    by_part = states(submission)
    if overall(by_part).final:
        where = f"job {submission.job_ids}"
        raise InputError(where, f"is {overall(by_part).name} already", "submit again to go on with the run")
    living = [part for part, now in by_part.items() if not now.final]
    for part in living:
        record_event(part.folder, "cancelled")
    if submission.cluster == "slurm":
        scheduler.cancel([part.job_id for part in living])
    else:
        for part in living:
            os.kill(int(part.job_id), signal.SIGTERM)


def describe(submission: Submission) -> list[str]:
    """The events of the submission, a line for each event, with its time; of a large array only its exceptions."""
    start = (submission.time, "", f"submitted as job {submission.job_ids} ({submission.cluster})")
    many = sum(part.task is not None for part in submission.parts) > FEW
    events = [
        (entry["time"], f"{part.name}: " if part.name else "", _sentence(entry))
        for part in submission.parts
        for entry in read_events(part.folder)
        if not (many and part.task is not None and entry["event"] in {"started", "ready"} | _good_end(entry))
    ]
    return [
        f"{datetime.fromtimestamp(when).astimezone():%Y-%m-%d %H:%M:%S}  {who}{what}"
        for when, who, what in [start, *sorted(events, key=lambda event: event[0])]
    ]


def _good_end(entry: dict[str, Any]) -> set[str]:
    return {"ended"} if entry.get("code") == DONE else set()


def _sentence(entry: dict[str, Any]) -> str:
    match entry["event"]:
        case "started":
            again = f", attempt {entry['attempt'] + 1}" if entry.get("attempt") else ""
            return f"started on {entry['host']} with {entry['nodes']} nodes{again}"
        case "ready":
            return f"Ray was up on {', '.join(entry['hosts'])} after {entry['seconds']} s"
        case "lost":
            return f"lost {entry['host']}"
        case "draining":
            return "drained: the walltime was near" if entry["reason"] == "walltime" else "asked to stop"
        case "requeued":
            return f"requeued, {entry['attempt'] + 1} times by now" if entry.get("attempt") else "requeued"
        case "ended":
            return f"{_ENDS[entry['code']]}{': ' + entry['problem'] if 'problem' in entry else ''}"
    return str(entry["event"])


def _told_end(part: Part, events: Sequence[dict[str, Any]]) -> State | None:
    """The end that the part itself told of; None if it may go on."""
    code = events[-1].get("code") if events else None
    if code is None or code == INCOMPLETE:
        return None
    problem = events[-1].get("problem", "")
    return State(_ENDS[code], problem if problem or code == DONE else _last_line(part.log))


def _gone(part: Part, events: Sequence[dict[str, Any]], others: dict[Part, State]) -> State:
    """The state of a part that the scheduler knows no more, and that did not say how it ended."""
    if any(entry["event"] == "cancelled" for entry in events):
        return State("stopped", "cancelled")
    if events and events[-1].get("code") == INCOMPLETE:
        return State("stopped", events[-1].get("problem", ""))
    if events:
        return State("gone", f"it ended without a word; see {part.log}")
    for other, end in others.items():
        if other.stage in part.after and end.final and end.name != "done":
            return State("stopped", f"it never started: {other.name} {end.name}")
    return State("gone", f"it never started: {_last_line(part.log) or f'do the nodes see {part.folder}?'}")


def _prefixed(part: Part, text: str) -> str:
    return "".join(f"{part.name} | {line}" for line in text.splitlines(keepends=True)) if part.name else text


def _until_final(submission: Submission) -> Iterator[State]:
    """The state, about once a second, until it is final: that one comes last."""
    asked, told, now = -ASK_EVERY_SECONDS, -1, State("queued")
    # This machine can be asked at any time.
    pause = ASK_EVERY_SECONDS if submission.cluster == "slurm" else 0.0
    while not now.final:
        events = sum(_size(part.folder) for part in submission.parts)
        if events != told or time.monotonic() - asked > pause:
            told, asked = events, time.monotonic()
            now = state(submission)
        yield now
        # Many small files on a shared file system are looked at less often.
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
    # The number may have gone to another process since.
    try:
        return any("submitit" in word for word in psutil.Process(int(process)).cmdline())
    except psutil.Error:
        return False


def _last_line(log: Path) -> str:
    text, _ = _read_from(log, max(0, log.stat().st_size - 2000) if log.exists() else 0)
    # What Slurm adds says only that the task failed.
    lines = (line for line in reversed(text.splitlines()) if not line.startswith(("srun: ", "slurmstepd: ")))
    return next((line for line in lines if line.strip()), "")


def _read_from(log: Path, position: int, whole: bool = False) -> tuple[str, int]:
    """What is in the log from `position` on (`whole` lines only), and where it ends."""
    try:
        with log.open("rb") as file:
            file.seek(position)
            data = file.read()
    except FileNotFoundError:
        return "", position
    if whole:
        data = data[: data.rfind(b"\n") + 1]
    return data.decode(errors="replace"), position + len(data)
