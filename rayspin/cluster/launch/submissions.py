"""What became of a submission: its state, story and log, from its files; the scheduler is asked once a minute."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rayspin.cluster.launch import scheduler
from rayspin.cluster.launch.story import read_story, tell
from rayspin.cluster.launch.supervisor import BAD_INPUT, DONE, FAILED, INCOMPLETE
from rayspin.errors import InputError

ASK_EVERY_SECONDS = 60.0
"""Sites ban users whose programs ask the scheduler more often."""

_ENDS = {DONE: "done", FAILED: "failed", BAD_INPUT: "refused", INCOMPLETE: "stopped"}


@dataclass(frozen=True)
class Submission:
    """A job that was handed over.

    Attributes:
        job_id: as the scheduler calls it; with cluster "local" the process that runs the tasks.
        cluster: "slurm" or "local".
        folder: of this submission: logs, the job as submitted, the script, the story so far.
    """

    job_id: str
    cluster: str
    folder: Path

    @property
    def log(self) -> Path:
        """What rank 0, and so the run itself, prints."""
        return self.folder / f"{self.job_id}_0_log.out"


@dataclass(frozen=True)
class State:
    """Where a submission stands.

    Attributes:
        name: queued, running, done, failed, refused (bad input), stopped, or gone (ended without a word).
        why: more of it, for people; may be empty.
    """

    name: str
    why: str = ""

    @property
    def final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.name not in {"queued", "running"}


def latest(out: Path) -> Submission:
    """The last submission of the run in the folder `out`.

    Raises:
        InputError: there is none.
    """
    stories = sorted((out / "submissions").glob("*/events.jsonl"), key=lambda story: story.stat().st_ctime)
    for story in reversed(stories):
        for entry in read_story(story.parent):
            if entry["event"] == "submitted":
                return Submission(entry["job_id"], entry["cluster"], story.parent)
    raise InputError(str(out), "nothing was submitted for this run", "rayspin submit JOB.toml --out, or another folder")


def state(submission: Submission) -> State:
    """Where the submission stands now; asks the scheduler unless the story has its end."""
    story = read_story(submission.folder)
    last: dict[str, Any] = story[-1] if story else {"event": "submitted"}
    code = last.get("code")
    if code is not None and code != INCOMPLETE:
        return State(_ENDS[code], last.get("problem", ""))
    there = _in_slurm(submission) if submission.cluster == "slurm" else _on_this_machine(submission)
    if there is not None:
        return there
    if code == INCOMPLETE or any(entry["event"] == "cancelled" for entry in story):
        return State("stopped", last.get("problem", ""))
    if last["event"] == "submitted":
        return State("gone", f"it never started; do the nodes see {submission.folder}?")
    return State("gone", f"it ended without a word; see {submission.log}")


def wait(submission: Submission) -> State:
    """The final state of the submission, once it has one."""
    for _ in _until_final(submission):
        pass
    return state(submission)


def follow(submission: Submission) -> Iterator[str]:
    """The run's output, as it comes, until the submission has ended."""
    position = 0
    for _ in _until_final(submission):
        text, position = _read_from(submission.log, position)
        if text:
            yield text
    yield _read_from(submission.log, position)[0]


def cancel(submission: Submission) -> None:
    """End the submission on all its nodes; what is done is kept.

    Raises:
        InputError: it has ended already.
        RunError: the scheduler refuses.
    """
    now = state(submission)
    if now.final:
        raise InputError(f"job {submission.job_id}", f"is {now.name} already", "submit again to go on with the run")
    tell(submission.folder, "cancelled")
    if submission.cluster == "slurm":
        scheduler.cancel(submission.job_id)
    else:
        os.kill(int(submission.job_id), signal.SIGTERM)


def describe(submission: Submission) -> list[str]:
    """The story of the submission, a line for each event, with its time."""
    return [
        f"{datetime.fromtimestamp(entry['time']).astimezone():%Y-%m-%d %H:%M:%S}  {_sentence(entry)}"
        for entry in read_story(submission.folder)
    ]


def _sentence(entry: dict[str, Any]) -> str:
    match entry["event"]:
        case "submitted":
            return f"submitted as job {entry['job_id']} ({entry['cluster']})"
        case "started":
            return f"started on {entry['host']} with {entry['nodes']} nodes"
        case "ready":
            return f"Ray was up on {', '.join(entry['hosts'])} after {entry['seconds']} s"
        case "lost":
            return f"lost {entry['host']}"
        case "draining":
            return "drained: the walltime was near" if entry["reason"] == "walltime" else "asked to stop"
        case "ended":
            return f"{_ENDS[entry['code']]}{': ' + entry['problem'] if 'problem' in entry else ''}"
    return str(entry["event"])


def _until_final(submission: Submission) -> Iterator[None]:
    """Comes round once a second until the submission has ended."""
    asked = -ASK_EVERY_SECONDS
    told = -1
    while True:
        story = len(read_story(submission.folder))
        if story != told or time.monotonic() - asked > ASK_EVERY_SECONDS:
            told, asked = story, time.monotonic()
            if state(submission).final:
                return
        yield
        time.sleep(1.0)


def _in_slurm(submission: Submission) -> State | None:
    entry = scheduler.queue_entry(submission.job_id)
    if entry is None:
        return None
    word, reason = entry
    return State("queued", reason) if word in {"PENDING", "REQUEUED", "REQUEUE_HOLD"} else State("running")


def _on_this_machine(submission: Submission) -> State | None:
    try:
        fields = Path(f"/proc/{submission.job_id}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{submission.job_id}/cmdline").read_bytes()
    except OSError:
        return None
    # The number may have gone to another process since.
    return State("running") if fields[0] != "Z" and b"submitit" in command else None


def _read_from(log: Path, position: int) -> tuple[str, int]:
    try:
        with log.open("rb") as file:
            file.seek(position)
            data = file.read()
    except FileNotFoundError:
        return "", position
    return data.decode(errors="replace"), position + len(data)
